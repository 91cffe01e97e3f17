# Read by dist_train.sh and dist_test.sh. launch SCRIPT [ARGS]: run it in $GPUS processes on this machine by torchrun.
launch() {
    case $GPUS in
        '' | *[!0-9]* | 0) echo "$0: GPUS must be a number of processes, got '$GPUS'" >&2; exit 2 ;;
    esac
    local python=${PYTHON:-python} nnodes=${NNODES:-1} port=${PORT:-${MASTER_PORT:-}}
    if [ -z "$port" ] && [ "$nnodes" -gt 1 ]; then
        port=29500 # the machines must agree on it
    fi
    if [ "${NODE_RANK:-0}" -eq 0 ]; then
        port=$(free_port "$python" "${port:-0}") || exit 1
    fi
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
    PYTHONPATH="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)${PYTHONPATH:+:$PYTHONPATH}" \
        exec "$python" "$(dirname "${BASH_SOURCE[0]}")/_torchrun.py" --nnodes "$nnodes" --node_rank "${NODE_RANK:-0}" \
        --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "$port" --nproc_per_node "$GPUS" "$@"
}

# free_port PYTHON PORT: print PORT, or a free one for 0; fail where it is in use.
free_port() {
    "$1" - "$2" <<'CODE'
import socket
import sys

with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(('', int(sys.argv[1])))
    except OSError as error:
        sys.exit(f'port {sys.argv[1]} cannot be used, it may be in use by another job ({error}): set PORT to a free one')
    print(probe.getsockname()[1])
CODE
}
