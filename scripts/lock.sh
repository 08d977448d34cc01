#!/usr/bin/env bash
# Resolves pyproject.toml into requirements/*.lock: every package, every platform, with hashes.
set -euo pipefail
uv=${1:-uv}
compile=("$uv" pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header
         --excludes requirements/excludes.txt --extra embedded --extra models)
"${compile[@]}" --extra dev -o requirements/dev.lock
"${compile[@]}" -c requirements/dev.lock -o requirements/up.lock
