# Read by dist_train.sh and dist_test.sh. launch SCRIPT [ARGS]: run it in $GPUS processes on this machine by torchrun.
launch() {
    case $GPUS in
        '' | *[!0-9]* | 0) echo "$0: GPUS must be a number of processes, got '$GPUS'" >&2; exit 2 ;;
    esac
    local python=${PYTHON:-python} nnodes=${NNODES:-1}
    local address=${MASTER_ADDR:-127.0.0.1} port=${PORT:-${MASTER_PORT:-}}
    if [ -z "$port" ]; then
        if [ "$nnodes" -gt 1 ]; then
            port=29500 # the machines must agree on it
        else
            port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        fi
    fi
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
    PYTHONPATH="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)${PYTHONPATH:+:$PYTHONPATH}" \
        exec "$python" -m torch.distributed.run --nnodes "$nnodes" --node_rank "${NODE_RANK:-0}" \
        --master_addr "$address" --master_port "$port" --nproc_per_node "$GPUS" "$@"
}
