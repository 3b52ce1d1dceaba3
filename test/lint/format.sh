#!/usr/bin/env bash
# clang-format decides.
set -eu
cd "$(dirname "$0")/../.."
git ls-files 'src/*.[ch]' 'test/*.[ch]' 'bench/*.[ch]' | xargs clang-format --dry-run -Werror
