#!/bin/sh
# The tests of the report drive the machine's own Chromium. As root on Debian it is installed where it is missing; where
# that is not possible those tests skip and say so. Never fails.
for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "No Chromium here: the tests of the report in a browser skip (Debian: apt install chromium)." >&2
    exit 0
fi
echo "Installing Chromium for the tests of the report ..."
export DEBIAN_FRONTEND=noninteractive
{ apt-get -q update && apt-get -q install --yes --no-install-recommends chromium; } >/dev/null 2>&1 ||
    echo "Chromium could not be installed: the tests of the report in a browser skip." >&2
exit 0
