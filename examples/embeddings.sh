#!/usr/bin/env bash
# A model of embeddings: what a network that knows other things says of images becomes a classifier in one pass.
#
#     examples/embeddings.sh [OUTPUT_FOLDER]
#
# The network here is the CIFAR-10 model, which has never seen a digit. Embeddings from anywhere else, of images, texts or
# sounds, work the same way: only the column counts. DISMAX is the command to run (default: `dismax` from PATH).
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-embeddings-output}
read -r -a dismax <<<"${DISMAX:-dismax}"
mkdir -p "$out"

echo "== Embeddings of the digits"
for set in train test unseen; do
    "${dismax[@]}" sql --model models/cifar10-resnet20 --out "$out/$set.parquet" --force --quiet \
        "SELECT label, dismax_embedding(image) AS embedding FROM 'examples/data/digits/$set.parquet'"
done

echo "== A head, fitted in closed form and calibrated on rows that it was not fitted on"
"${dismax[@]}" train "$out/train.parquet" --embedding embedding --validation 0.2 --out "$out/model" --force

echo "== How well it tells the digits, and digits that it was never shown"
"${dismax[@]}" evaluate --model "$out/model" --id "$out/test.parquet" --ood "$out/unseen.parquet"

echo "== Without an image in sight: score, and look at the dataset"
"${dismax[@]}" score "$out/unseen.parquet" --model "$out/model" --out "$out/scored.parquet" --force
"${dismax[@]}" audit "$out/test.parquet" "$out/unseen.parquet" --model "$out/model" --out "$out/audit" --force
