#!/usr/bin/env bash
# A scratch PostgreSQL with TLS and SCRAM passwords, in a folder, on a free port of 127.0.0.1.
#
#   pg.sh start DIR [durable]   makes and starts it; the last line printed is how to connect (libpq)
#   pg.sh stop DIR              stops it; the folder stays
#   pg.sh crash DIR             stops it as a power cut would
#   pg.sh restart DIR           starts it again, same port
#
# Without "durable" it does not sync: fast, for tests. With it all settings are the server's defaults.
# DIR must be reachable by other users when root calls: the server runs as "postgres" then.
# TR_PG_PORT fixes the port, TR_PG_BIN the folder of the server's programs.
set -eu

command=${1:?start, stop, crash or restart}
dir=$(realpath -m "${2:?a folder}")
mode=${3:-}
user=tailrace_admin
password=only-for-tests

bin=${TR_PG_BIN:-}
if [ -z "$bin" ]; then
    for candidate in /usr/lib/postgresql/*/bin; do
        [ -x "$candidate/initdb" ] && bin=$candidate
    done
fi
[ -x "$bin/initdb" ] || { echo "pg.sh: no PostgreSQL server is installed (postgresql-15)" >&2; exit 1; }

# The server refuses to run as root, and cannot enter every folder that root is in.
cd /
as_server() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --init-groups env HOME="$dir" "$@"
    else
        "$@"
    fi
}

own() {
    if [ "$(id -u)" = 0 ]; then
        chown postgres:postgres "$@"
    fi
}

free_port() {
    python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

# An authority and a certificate it signed for localhost, for sslmode verify-ca and verify-full.
certificates() {
    local data=$1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -subj '/CN=Tailrace test authority' -keyout "$dir/ca.key" -out "$data/ca.pem" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=localhost' \
        -keyout "$data/server.key" -out "$dir/server.csr" 2>/dev/null
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' > "$dir/server.ext"
    openssl x509 -req -days 3650 -in "$dir/server.csr" -CA "$data/ca.pem" -CAkey "$dir/ca.key" \
        -CAcreateserial -extfile "$dir/server.ext" -out "$data/server.crt" 2>/dev/null
    chmod 600 "$data/server.key"
    own "$data/server.key" "$data/server.crt" "$data/ca.pem"
}

run_server() {
    as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 60 start > /dev/null || {
        cat "$dir/log" >&2
        exit 1
    }
}

start() {
    mkdir -p "$dir"
    chmod 755 "$dir"
    own "$dir"
    printf '%s' "$password" > "$dir/password"
    as_server "$bin/initdb" -D "$dir/data" -U "$user" --pwfile="$dir/password" -A scram-sha-256 \
        -E UTF8 --locale=C --no-sync > "$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
    certificates "$dir/data"
    cat > "$dir/data/pg_hba.conf" <<HBA
local   all all scram-sha-256
hostssl all tr_tls_only 127.0.0.1/32 scram-sha-256
host    all tr_tls_only 127.0.0.1/32 reject
host    all tr_not_here 127.0.0.1/32 reject
host    all all 127.0.0.1/32 scram-sha-256
HBA
    port=${TR_PG_PORT:-$(free_port)}
    cat >> "$dir/data/postgresql.conf" <<CONF
port = $port
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
ssl = on
password_encryption = scram-sha-256
log_min_messages = warning
log_line_prefix = '%m [%p] %u '
lc_messages = 'C'
CONF
    if [ "$mode" != durable ]; then
        # A crash of the server program loses nothing this way; one of the machine would.
        printf 'fsync = off\nfull_page_writes = off\nmax_connections = 200\n' >> "$dir/data/postgresql.conf"
    fi
    run_server
    conninfo="host=127.0.0.1 port=$port user=$user password=$password"
    as_server "$bin/psql" -qX -d "$conninfo dbname=postgres" -c 'CREATE DATABASE tailrace_test' < /dev/null
    echo "$conninfo dbname=tailrace_test"
}

case $command in
start) start ;;
stop) as_server "$bin/pg_ctl" -D "$dir/data" -m fast -w stop > /dev/null ;;
crash) as_server "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop > /dev/null ;;
restart) run_server ;;
*) echo "pg.sh: unknown command $command" >&2; exit 2 ;;
esac
