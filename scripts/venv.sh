#!/bin/sh
# Creates .venv with the pinned requirements, by $PYTHON or the first Python on PATH that the project runs on. Debian's
# python3 comes without venv: it is installed where that is allowed.
set -eu
tested="3.11 and 3.13"
fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo "(not there)"; }

# Settings that would put packages elsewhere than into .venv, not all of them, or others.
unset PYTHONHOME PYTHONPATH PIP_PYTHON PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT
export PIP_USER=0 PIP_NO_DEPS=0 PIP_DRY_RUN=0

python=""
for candidate in ${PYTHON:+"$PYTHON"} python3 python python3.13 python3.12 python3.11; do
    if fits "$candidate"; then
        python=$candidate
        break
    elif [ -n "${PYTHON:-}" ]; then
        break
    fi
done
if [ -z "$python" ]; then
    first=${PYTHON:-python3}
    echo "$first is Python $(version "$first"); the project needs 3.11 or newer ($tested are tested): install one, and" \
        "say which if it is not first on PATH: make setup PYTHON=python3.11" >&2
    exit 1
fi
case "$tested" in
*"$(version "$python")"*) ;;
*) echo "note: $python is Python $(version "$python"); $tested are tested" >&2 ;;
esac
if ! "$python" -c "import ensurepip, venv" 2>/dev/null; then
    sh scripts/system-packages.sh python3-venv
fi
# An environment of another Python, or of one that is gone, keeps its links: it is made anew.
if [ -e .venv ] && [ "$(version .venv/bin/python)" != "$(version "$python")" ]; then
    echo "making .venv anew: it has Python $(version .venv/bin/python), not $(version "$python")"
    "$python" -m venv --clear .venv
else
    "$python" -m venv .venv
fi
echo "installing requirements.txt into .venv (torch is large: minutes on a slow line)"
# By its module: the script pip has the folder's first path in it, which a clone that was moved has no more.
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
if ! .venv/bin/python -m pip show --quiet $(sed -n 's/==.*//p' requirements.txt) 2>/dev/null; then
    echo "pip put the packages elsewhere: .venv/bin/python -m pip config list shows the setting (target, prefix, root)" >&2
    exit 1
fi
