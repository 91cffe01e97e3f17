# Read by slurm_train.sh and slurm_test.sh. on_cluster SCRIPT [ARGS]: run it by srun, a process for each GPU.
on_cluster() {
    local options=(--partition="$PARTITION" --job-name="$JOB_NAME" --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE")
    options+=(--cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1)
    if [ -z "${CPU_ONLY:-}" ]; then
        options+=(--gres=gpu:"$GPUS_PER_NODE")
    fi
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
    # SRUN_ARGS and PY_ARGS hold several words each, so they stand unquoted.
    # shellcheck disable=SC2086
    PYTHONPATH="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)${PYTHONPATH:+:$PYTHONPATH}" \
        exec srun "${options[@]}" ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$@" ${PY_ARGS:-}
}

# take_gpus ARGS: read the number of processes, where it is the next argument, into GPUS; REST holds the other arguments.
take_gpus() {
    GPUS=${GPUS:-8}
    REST=("$@")
    if [[ ${1:-} =~ ^[0-9]+$ ]]; then
        GPUS=$1
        REST=("${@:2}")
    fi
    GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
}
