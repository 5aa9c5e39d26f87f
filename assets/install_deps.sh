#!/bin/sh
# Installs the system libraries that the window needs, where this is possible without asking for a password.
# Linux only; macOS and Windows bring theirs. Never fails: without these libraries everything but the window works.
set -u
[ "$(uname -s)" = Linux ] || exit 0

missing() {
    ! ldconfig -p 2>/dev/null | grep -q "$1"
}

wanted=""
if missing libvulkan.so.1; then wanted="$wanted libvulkan1"; fi
if missing libxkbcommon-x11.so; then wanted="$wanted libxkbcommon-x11-0"; fi
if missing libXcursor.so; then wanted="$wanted libxcursor1"; fi
if missing libXi.so; then wanted="$wanted libxi6"; fi
if missing libXrandr.so; then wanted="$wanted libxrandr2"; fi
# A Vulkan driver, for the window and not for computing: the software one is there in any case.
if [ -z "$(ls /usr/share/vulkan/icd.d /etc/vulkan/icd.d 2>/dev/null)" ]; then wanted="$wanted mesa-vulkan-drivers"; fi
if ! command -v cc >/dev/null 2>&1; then wanted="$wanted gcc libc6-dev"; fi
[ -n "$wanted" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "The window needs these libraries (Debian names), please install them:$wanted"
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    sudo=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    sudo="sudo"
else
    echo "The window needs some libraries. Please run: sudo apt-get install$wanted"
    exit 0
fi
echo "Installing$wanted"
# shellcheck disable=SC2086
$sudo sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted" \
    >/dev/null || echo "Some libraries could not be installed:$wanted"
exit 0
