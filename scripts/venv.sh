#!/usr/bin/env bash
# Makes the virtual environment with uv in it. Debian leaves venv out of its Python: says how to get it, or gets it (root).
set -euo pipefail

python=$(command -v "$PYTHON" || command -v python3 || true)
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Python 3.11 or later is needed. Install it (apt-get install python3.11), or name it: make PYTHON=/path/to/python3 up" >&2
    exit 2
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    if [ "$(id -u)" != 0 ]; then
        echo "Python's venv module is missing. Install it: sudo apt-get install python3-venv" >&2
        exit 2
    fi
    echo "Installing python3-venv"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
fi
echo "Making the virtual environment $VENV with $("$python" --version)"
"$python" -m venv "$VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
