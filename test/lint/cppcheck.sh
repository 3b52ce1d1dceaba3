#!/usr/bin/env bash
# cppcheck's errors and warnings are ours. Left out: comparePointers (bounds that the linker makes), memleak
# (it does not know the cleanup attribute; the sanitizers watch leaks in every test).
set -eu
cd "$(dirname "$0")/../.."
cppcheck --quiet --std=c11 --language=c --enable=warning,portability --error-exitcode=1 --inline-suppr \
    --suppress=missingIncludeSystem --suppress=unknownMacro --suppress=comparePointers --suppress=memleak \
    --suppress=duplicateAssignExpression \
    -D_GNU_SOURCE -D__BYTE_ORDER__=1 -D__ORDER_LITTLE_ENDIAN__=1 -I src -j 2 src
