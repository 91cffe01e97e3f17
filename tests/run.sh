#!/usr/bin/env bash
# Set up an environment if need be and run the tests.
#   ./tests/run.sh                 the quick suite
#   ./tests/run.sh -k anchor       with pytest's own arguments
#   CI=true ./tests/run.sh         everything that this machine can run, with a third of the reference figures by day
#   CI=true PARITY_THIRD=all ./tests/run.sh    with all of them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/misc/environment.sh
. tools/misc/environment.sh
prepare_environment tests

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MPLBACKEND=Agg
workers=(-n "$(python -c 'import os; print(max(1, min(8, os.cpu_count() or 1)))')")
if [ "${CI:-}" != true ]; then
    exec python -m pytest "${workers[@]}" -m 'not slow and not slurm' "$@"
fi

section() {
    echo "== $1 =="
    shift
    python -m pytest "$@" || [ $? = 5 ] # 5: the arguments given select none of these
}

# the day of the year decides which third; 10# because 008 is no octal number
export PARITY_THIRD=${PARITY_THIRD:-$((10#$(date +%j) % 3))}
section 'the quick suite' "${workers[@]}" -m 'not slow and not slurm and not gpu' "$@"
section "the reference's figures, third $PARITY_THIRD" "${workers[@]}" -m 'slow and parity' "$@"
section 'one at a time: what trains, starts processes or installs the package' -m '(slow and not parity) or slurm' "$@"
