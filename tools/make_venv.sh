#!/bin/sh
# Build a virtual environment from requirements.lock with a Python this project can use (3.11, 3.12 or 3.13).
set -eu
venv=$1

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

python=""
for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
    if usable "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "wsvis needs Python 3.11, 3.12 or 3.13 with the venv module, and found none." >&2
    echo "Install one (Debian/Ubuntu: apt install python3 python3-venv; else python.org or conda)," >&2
    echo "or name it: make install PYTHON=/path/to/python3.12" >&2
    exit 2
fi
echo "Building $venv with $("$python" --version) (torch and its CUDA libraries are about 5 GB) ..."
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
