#!/usr/bin/env bash
# Install the package with each Python that this machine has, 3.10 to 3.13, and train a tiny detector for a few steps.
#   ./tests/interpreters.sh [python3.10 python3.12 ...]
# Each gets a virtual environment of its own in a temporary folder, some gigabytes while it is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MPLBACKEND=Agg
failed=0
for python in "${@:-python3.10 python3.11 python3.12 python3.13}"; do
    for name in $python; do
        "$name" -c 'import sys' >/dev/null 2>&1 || { echo "$name: not here"; continue; }
        folder=$(mktemp -d)
        if "$name" -m venv "$folder/venv" &&
            "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable . pytest &&
            "$folder/venv/bin/python" -W error::SyntaxWarning -c 'import mmdet_clone.apis' &&
            "$folder/venv/bin/python" -m pytest -q -p no:cacheprovider tests/tools/test_train_and_test.py; then
            echo "$name ($("$folder/venv/bin/python" -m pip list 2>/dev/null | awk '/^(torch|torchvision|numpy|setuptools) / {printf "%s %s, ", $1, $2}')): passed"
        else
            echo "$name: FAILED"
            failed=1
        fi
        rm -rf "$folder"
    done
done
exit $failed
