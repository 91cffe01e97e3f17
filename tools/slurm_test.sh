#!/usr/bin/env bash
# Test on a SLURM cluster: [GPUS=8] tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [GPUS] [arguments of test.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS and PY_ARGS are read from the environment; CPU_ONLY=1 asks for no GPUs.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: [GPUS=8] $0 PARTITION JOB_NAME CONFIG CHECKPOINT [GPUS] [arguments of test.py]" >&2
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
CHECKPOINT=$4
. "$(dirname "$0")/_slurm.sh"
take_gpus "${@:5}"
on_cluster "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher=slurm ${REST[@]+"${REST[@]}"}
