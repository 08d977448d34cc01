#!/usr/bin/env bash
# All checks, then all tests with coverage. Arguments go to pytest: make test ARGS="-k router".
set -euo pipefail
ruff check --quiet .
ruff format --check --quiet .
mypy
lint-imports --no-cache
# A home of its own: the tests never touch the one that `make up` uses.
coverage erase
exec pytest --cov --cov-report=term:skip-covered --cov-fail-under=80 "$@"
