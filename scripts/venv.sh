#!/bin/sh
# Creates .venv with the pinned requirements. Debian's python3 comes without venv: it is installed where that is allowed.
set -eu
python=${PYTHON:-python3}
if ! "$python" -c "import ensurepip, venv" 2>/dev/null; then
    sh scripts/system-packages.sh python3-venv
fi
"$python" -m venv .venv
echo "installing requirements.txt into .venv (torch is large: minutes on a slow line)"
.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
