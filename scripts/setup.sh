#!/bin/sh
# Make .venv hold what the named locks say, checked by hash.  Usage: scripts/setup.sh LOCK...
#   LOCK is a name in requirements/ (dev, server, demo, smollm2, gemma). Locks agree with one another, so they add up.
# Needs Python >= 3.11 and a package index; no root, no compiler. uv does the work; where it has no wheel, pip does.
set -eu
cd "$(dirname "$0")/.."
venv=.venv
python=$venv/bin/python

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $1"; shift; for line in "$@"; do say "  $line"; done; exit 1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# A home that is missing or cannot be written must not matter.
if [ -z "${HOME:-}" ] || ! [ -d "$HOME" ] || ! [ -w "$HOME" ]; then
    export UV_CACHE_DIR="${UV_CACHE_DIR:-$PWD/$venv/cache}" PIP_CACHE_DIR="${PIP_CACHE_DIR:-$PWD/$venv/cache}"
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS="${UV_NO_PROGRESS:-${CI:-}}"
[ -n "$UV_NO_PROGRESS" ] || unset UV_NO_PROGRESS
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV CONDA_PREFIX || :

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
        if new_enough "$candidate"; then command -v "$candidate"; return; fi
    done
    die "no Python >= 3.11 found." "Name one: make PYTHON=/path/to/python3.12 ..."
}

make_environment() {
    base=$(find_python)
    say "setup: making $venv with $("$base" --version 2>&1) ($base)"
    "$base" -m venv --clear $venv >/dev/null 2>&1 && return
    # Debian ships Python without ensurepip: take whatever installer there is instead.
    if "$base" -m pip --version >/dev/null 2>&1 && "$base" -m venv --clear --without-pip $venv >/dev/null 2>&1 &&
        "$base" -m pip --python $python install --quiet pip; then return; fi
    if command -v uv >/dev/null 2>&1 && uv venv --quiet --clear --seed --python "$base" $venv; then return; fi
    rm -rf $venv
    die "$base can make no virtual environment (its venv or ensurepip module is missing)." \
        "Debian, Ubuntu: install python3-venv (as root), then again." \
        "Without root: put uv on the PATH, or name a complete Python: make PYTHON=/path/to/python3.12 ..."
}

install_uv() {
    $python -m uv --version 2>/dev/null | grep -q " $(sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements/uv.txt)\( \|$\)" ||
        $python -m pip install --quiet --only-binary :all: --require-hashes --no-deps -r requirements/uv.txt
}

# Every lock is complete, so nothing is left to resolve: --no-deps also keeps out what a lock leaves out on purpose.
install() {
    if [ "${INSTALLER:-uv}" = uv ] && install_uv; then
        $python -m uv pip install --quiet --python $python --no-deps "$@" && return
        say "setup: uv could not do it; trying pip"
    fi
    $python -m pip install --quiet --no-deps "$@"
}

[ -x $python ] && new_enough $python || make_environment
$python -m pip --version >/dev/null 2>&1 || $python -m ensurepip >/dev/null 2>&1 || make_environment
locks=
for lock in "$@"; do locks="$locks -r requirements/$lock.txt"; done
say "setup: installing $*"
# shellcheck disable=SC2086  # a list of options, on purpose
install --require-hashes $locks || die "the packages could not be installed; the lines above say why." \
    "They come from the package index that pip or uv is set up for; behind a proxy set HTTPS_PROXY and SSL_CERT_FILE."
[ "$*" = uv ] || install --no-build-isolation --editable . || die "the project itself could not be installed; the lines above say why."
