#!/usr/bin/env bash
# Checks and times the demo, ResNet-50, Wide-ResNet-50-2 and the ImageNet-64 U-Net on this machine's GPU, through wgpu and (in a
# build with the feature) CUDA, beside PyTorch where there is one, within 8 minutes, and writes one JSON.
#
#     benches/gpu.sh PROGRAM [FILE]
#
# PROGRAM is lapidary, best without its debug information (`strip --strip-debug`). Nothing is fetched from anywhere. The first
# use of every network on a GPU compares its layers with the CPU's (README, "Devices"); what was found stands in the JSON under
# "device". Without PyTorch only the demo's networks are there to be measured.
set -u
here=$(dirname "$0")
program=${1:?which program}
file=${2:-gpu.json}
timeout --kill-after=10 480 python3 "$here/peers/measure.py" gpu "$program" "$file"
status=$?
if [ "$status" = 124 ] || [ "$status" = 137 ]; then
  echo "8 minutes are over: $file holds what was measured" >&2
fi
echo "$file"
