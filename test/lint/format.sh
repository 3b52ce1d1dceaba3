#!/usr/bin/env bash
# clang-format decides; generated tables are left as they are.
set -eu
cd "$(dirname "$0")/../.."
git ls-files 'src/*.[ch]' 'test/*.[ch]' 'bench/*.[ch]' | grep -v lz64_vectors.h | xargs clang-format --dry-run -Werror
