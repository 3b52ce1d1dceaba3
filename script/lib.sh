# Shared by the scripts in this folder. Source it; it changes to the repository's top.
# shellcheck shell=bash disable=SC2034
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
TOP=$PWD
export TOP

# Downloads and installed test tools live outside the tree, so that a fresh clone need not fetch them again.
CACHE=${TAILRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tailrace}
export CACHE
mkdir -p "$CACHE"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

BUILD_PACKAGES="gcc libc6-dev pkg-config meson ninja-build libhttp-parser-dev libcurl4-openssl-dev
  libssl-dev libsqlite3-dev libpq-dev libzstd-dev zlib1g-dev libjansson-dev libyaml-dev libpcre2-dev
  libxxhash-dev tzdata ca-certificates"
TEST_PACKAGES="git libcmocka-dev clang clang-format libclang-rt-14-dev cppcheck shellcheck postgresql-15
  postgresql-client-15 python3 python3-venv openssl sqlite3 chromium nodejs npm golang-go iproute2
  faketime strace nginx-light haproxy"
BENCH_PACKAGES="nginx-light wrk postgresql-15 postgresql-client-15 python3 golang-go"

# need_packages NAME...: installs what is missing; as root by itself, otherwise it says what to run.
need_packages() {
    local missing=() name
    for name in "$@"; do
        case $name in
            nodejs|npm) command -v node >/dev/null && command -v npm >/dev/null && continue ;;
            golang-go) command -v go >/dev/null && continue ;;
        esac
        dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" = 0 ] || die "these packages are missing; as root run: apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    # A server package must not start a server of its own here (invoke-rc.d asks RUNLEVEL).
    export RUNLEVEL=1
    export DEBIAN_FRONTEND=noninteractive
    if [ -d /etc/postgresql-common ] || mkdir -p /etc/postgresql-common; then
        [ -e /etc/postgresql-common/createcluster.conf ] ||
            echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    apt-get update -qq >"$CACHE/apt.log" 2>&1 || { tail -20 "$CACHE/apt.log" >&2; die "apt-get update failed"; }
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >>"$CACHE/apt.log" 2>&1 ||
        { tail -30 "$CACHE/apt.log" >&2; die "apt-get install failed"; }
}

# need_venv NAME REQUIREMENTS-FILE: a Python environment in the cache, made anew when the file changes.
# Prints its folder.
need_venv() {
    local key dir
    key=$(sha256sum "$2" | cut -c1-12)
    dir=$CACHE/venv-$1-$key
    if [ ! -e "$dir/ready" ]; then
        say "making the Python environment $1"
        rm -rf "$dir"
        # shellcheck disable=SC2086
        python3 -m venv "$dir" && "$dir/bin/pip" -q install --disable-pip-version-check -r "$2" >&2
        touch "$dir/ready"
    fi
    printf '%s\n' "$dir"
}

# configure DIR MESON-OPTIONS...: sets a build folder up once.
configure() {
    local dir=$1
    shift
    if [ ! -e "$dir/build.ninja" ]; then
        meson setup "$dir" "$@" >"$dir.log" 2>&1 || { rm -rf "$dir"; tail -30 "$dir.log" >&2; die "meson setup failed"; }
    fi
}
