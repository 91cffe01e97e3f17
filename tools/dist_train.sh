#!/usr/bin/env bash
# Train with several processes: tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# GPUS is the number of processes on this machine; without CUDA they run on the CPU (gloo).
# Several machines: start it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [arguments of train.py]" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
. "$(dirname "$0")/_launch.sh"
launch "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "${@:3}"
