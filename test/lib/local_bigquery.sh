#!/usr/bin/env bash
# local-bigquery, the stand-in that BigQuery's official client works against: in a folder, on free ports of
# 127.0.0.1. It checks no token and is lax where BigQuery is strict: bq_proxy.py stands in front of it.
#
#   local_bigquery.sh install DIR       makes its Python environment in DIR, once
#   local_bigquery.sh run DIR DATA PORT runs it on PORT with its state in DATA, in the foreground
#
# It asks for DuckDB 2, for which no extension can be had without the network; 1.5 works, so its dependencies are
# named here. Written for Python 3.13; two edits make it run on 3.11.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
command=${1:?install or run}
dir=${2:?a folder}

install() {
    [ -e "$dir/ready" ] && return
    rm -rf "$dir"
    python3 -m venv "$dir/venv"
    pip="$dir/venv/bin/pip -q --disable-pip-version-check"
    $pip install -r "$here/requirements-local-bigquery.txt" >&2
    $pip install --no-deps --ignore-requires-python local-bigquery==0.4.0 >&2
    local site
    site=$("$dir/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/local_bigquery
    sed -i 's/^def \(list_\|load\|save\)\[R: Resource\]/def \1/; 1i from __future__ import annotations' \
        "$site/catalog/metadata.py"
    sed -i "s/message.replace(\"'\", \"''\")/message.replace(chr(39), chr(39)*2)/" "$site/engine/results.py"
    mkdir -p "$dir/home"
    HOME=$dir/home "$dir/venv/bin/python" -c \
        'from duckdb_extensions import import_extension as i; [i(x) for x in ("icu", "ducklake", "spatial")]' >&2
    touch "$dir/ready"
}

case $command in
install) install ;;
run)
    mkdir -p "${3:?a folder for its state}"
    HOME=$dir/home exec "$dir/venv/bin/local-bigquery" --host 127.0.0.1 --port "${4:?a port}" \
        --grpc-port "$(("$4" + 1))" --project proj --dataset scratch --data-dir "$3"
    ;;
*) echo "local_bigquery.sh: unknown command $command" >&2; exit 2 ;;
esac
