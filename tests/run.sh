#!/usr/bin/env bash
# Set up an environment if need be and run the tests.
#   ./tests/run.sh                 the quick suite
#   ./tests/run.sh -k anchor       with pytest's own arguments
#   CI=true ./tests/run.sh         everything that this machine can run, the slow tests too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/misc/environment.sh
. tools/misc/environment.sh
prepare_environment tests

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MPLBACKEND=Agg
workers=(-n "$(python -c 'import os; print(max(1, min(8, os.cpu_count() or 1)))')")
if [ "${CI:-}" = true ]; then
    python -m pytest "${workers[@]}" -m 'not slow and not slurm and not gpu' "$@"
    exec python -m pytest -m 'slow or slurm' "$@"
fi
exec python -m pytest "${workers[@]}" -m 'not slow and not slurm' "$@"
