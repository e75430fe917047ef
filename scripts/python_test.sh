#!/usr/bin/env bash
# Tests the Python package with the library that cargo built:  scripts/python_test.sh target/debug [--integration] [pytest's words]
#
# The libraries it is tried with, at their newest versions, go into .venv (or the folder PYTHON_TEST_VENV).
set -euo pipefail
cd "$(dirname "$0")/.."

output=$1
shift
libraries=(pytest tqdm pyarrow polars pandas duckdb "datafusion>=55,<56" datasets pillow nbclient ipykernel onnxruntime onnx)
tests=python/tests
if [ "${1:-}" = --integration ]; then
    shift
    libraries+=(ray pyspark daft)
    tests=python/integration
fi

venv=${PYTHON_TEST_VENV:-.venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "${libraries[@]}"
# A copy: a library that is written anew while it is mapped ends its process.
cp --remove-destination "$output/libdismax_python.so" python/dismax/_native.abi3.so
export LIBTORCH="${LIBTORCH:-$PWD/.libtorch/torch}" PYTHONPATH="$PWD/python${PYTHONPATH:+:$PYTHONPATH}"
exec "$venv/bin/python" -m pytest -c python/pyproject.toml "$tests" "$@"
