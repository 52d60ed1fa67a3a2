#!/bin/sh
# Installs Debian packages that are missing, or says what takes their place.
set -eu
missing=""
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing Debian packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    if apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; then
        exit 0
    fi
    reason="apt-get failed"
else
    reason="no root or no apt-get"
fi
echo "not installed ($reason):$missing. Data sets and WordNet are downloaded by torchvision and NLTK instead;"
echo "tests that need a browser are skipped without chromium, those of SLURM without slurm-wlm and munge."
