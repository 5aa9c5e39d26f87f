#!/bin/sh
# Runs a command with a display: the one there is, else a virtual one (Xvfb) with the software Vulkan driver.
set -eu
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    exec "$@"
fi
if ! command -v xvfb-run >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends xvfb xauth mesa-vulkan-drivers >/dev/null
    else
        echo "There is no display and no Xvfb: install the package xvfb." >&2
        exit 1
    fi
fi
exec xvfb-run --auto-servernum --server-args="-screen 0 2000x1200x24" "$@"
