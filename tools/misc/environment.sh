# Sourced by demo/quickstart.sh and tests/run.sh, from the repository's root: prepare_environment [EXTRAS]
# activates a virtual environment (the active one, else .venv, which it makes) with the package installed in it.

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python 3.10 or newer found; install one, or name it: PYTHON=/path/to/python3 $0" >&2
    return 1
}

prepare_environment() {
    local extras=${1:+[$1]} python stamp wanted
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
        if [ ! -x .venv/bin/python ]; then
            python=$(find_python) || return 1
            echo "Making a virtual environment in .venv with $("$python" --version)"
            "$python" -m venv .venv || return 1
        fi
        # shellcheck disable=SC1091
        . .venv/bin/activate
    fi
    # install once, and again only when the requirements or the clone change
    stamp=$(python -c 'import sys; print(sys.prefix)')/.mmdet_clone$extras
    wanted=$(pwd && cat setup.py setup.cfg requirements/*.txt)
    if [ "$wanted" != "$(cat "$stamp" 2>/dev/null)" ] || ! python -c 'import mmdet_clone' 2>/dev/null; then
        echo "Installing mmdet_clone$extras and what it needs (a minute or two the first time)"
        python -m pip install --quiet --disable-pip-version-check --editable ".$extras" || return 1
        if ! python -c 'import cv2' 2>/dev/null; then
            echo "OpenCV cannot load its display libraries here: taking the build without them"
            python -m pip uninstall --quiet --yes opencv-python
            python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps opencv-python-headless || return 1
        fi
        python -c 'import mmdet_clone' || return 1
        echo "$wanted" >"$stamp"
    fi
}
