#!/usr/bin/env bash
# From a network that knows other things to a model of one's own images, in two ways: its weights stay and a head is
# fitted to its features in one pass, or all of it is trained further.
#
#     examples/finetune.sh [OUTPUT_FOLDER]
#
# The network here is the CIFAR-10 model, which has never seen a digit. A safetensors file of torchvision or timm works the
# same way: `--init resnet50.safetensors --arch resnet50`. DISMAX is the command to run (default: `dismax` from PATH).
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-finetune-output}
read -r -a dismax <<<"${DISMAX:-dismax}"
digits=examples/data/digits
mkdir -p "$out"

echo "== A head on the network as it is: one pass over the images"
"${dismax[@]}" train $digits/train.parquet --init models/cifar10-resnet20 --freeze --validation 0.2 --out "$out/frozen" --force

echo "== The network trained further, a tenth as fast below the head, from 8x8 pixels at its own 32x32"
"${dismax[@]}" train $digits/train.parquet --init models/cifar10-resnet20 --no-flip --epochs 3 --out "$out/tuned" --force

for model in frozen tuned; do
    echo "== How well the $model one tells the digits, and digits that it was never shown"
    "${dismax[@]}" evaluate --model "$out/$model" --id $digits/test.parquet --ood $digits/unseen.parquet
done

echo "== What the tuned network makes of each image, for other tools"
"${dismax[@]}" embed $digits/test.parquet --model "$out/tuned" --out "$out/embeddings.parquet" --force
