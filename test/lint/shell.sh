#!/usr/bin/env bash
# Every script passes shellcheck.
set -eu
cd "$(dirname "$0")/../.."
git ls-files script test/lib test/lint bench .ci | while read -r f; do
    [ -f "$f" ] && head -1 "$f" | grep -q 'bash\|shellcheck\|^# Shared' && echo "$f"
done | xargs shellcheck -x
