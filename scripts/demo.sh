#!/usr/bin/env bash
# Train, calibrate, score and evaluate on the handwritten digits of examples/data/digits.
#
#     scripts/demo.sh [OUTPUT_FOLDER]
#
# DISMAX is the command to run (default: `dismax` from PATH), LOSS the loss to train with. `make demo` builds it first.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-demo-output}
data=examples/data/digits
read -r -a dismax <<<"${DISMAX:-dismax}"

step() { printf '\n== %s\n' "$1"; }

mkdir -p "$out"

step "Train on the digits 0 to 7 (866 images)"
"${dismax[@]}" train "$data/train.parquet" --out "$out/model" --force --no-flip --loss "${LOSS:-dismax-dagger}" \
    --schedule one-cycle --epochs 30 --validation "$data/validation.parquet" --objective nll

step "Calibrate again on the 216 images kept out of the training, as one would on images of one's own"
"${dismax[@]}" calibrate "$out/model" --data "$data/validation.parquet"

step "Score a mixed file: known digits, unseen digits, broken and missing images"
"${dismax[@]}" score "$data/mixed.parquet" --model "$out/model" --out "$out/scored.parquet" --force \
    --errors "$out/failed-rows.parquet" --json >"$out/score.json"

step "Evaluate on the test digits 0 to 7 and the unseen digits 8 and 9"
"${dismax[@]}" evaluate --model "$out/model" --id "$data/test.parquet" --ood "$data/unseen.parquet" --json \
    >"$out/evaluation.json"

step "Result"
python3 scripts/demo_table.py "$out"
