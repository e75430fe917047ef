#!/usr/bin/env bash
# Train a model of models/ again and measure it, or only measure the one that is there; or train one without cats and trucks, and
# measure how well it tells these.
#
#     examples/cifar10/reproduce.sh train TRAIN.parquet OUT
#     examples/cifar10/reproduce.sh evaluate MODEL TEST.parquet [OOD.parquet...]
#     examples/cifar10/reproduce.sh hidden TRAIN.parquet TEST.parquet OUT [OOD.parquet...]
#
# DISMAX is the command to run (default: `dismax` from PATH). NETWORK is vgg8 (default) or resnet20, whose recipes lie beside this
# script; EPOCHS, BATCH_SIZE and WEIGHT_DECAY change them, and LOSS that of resnet20. CHARTS is the folder of the pictures.
set -euo pipefail

usage() { sed -n 's/^# \{0,1\}//; 5,7p' "$0" >&2; exit 2; }

read -r -a dismax <<<"${DISMAX:-dismax}"
recipe="$(dirname "$0")/${NETWORK:-vgg8}.toml"
case "${1:-}" in
    train)
        [ $# -eq 3 ] || usage
        # An interrupted run goes on where it was.
        "${dismax[@]}" train "$2" --out "$3" --resume --device cpu --recipe "$recipe" \
            ${LOSS:+--loss "$LOSS"} ${EPOCHS:+--epochs "$EPOCHS"} ${BATCH_SIZE:+--batch-size "$BATCH_SIZE"} \
            ${WEIGHT_DECAY:+--weight-decay "$WEIGHT_DECAY"}
        ;;
    evaluate)
        [ $# -ge 3 ] || usage
        "${dismax[@]}" evaluate --model "$2" --id "$3" ${4:+--ood "${@:4}"} --charts "${CHARTS:-charts}"
        ;;
    hidden)
        [ $# -ge 4 ] || usage
        names="make_array('airplane','automobile','bird','cat','deer','dog','frog','horse','ship','truck')[label + 1]"
        part() { "${dismax[@]}" sql "COPY (SELECT img, $names AS label FROM '$1' WHERE label $2 (3, 9)) TO '$4/$3.parquet'"; }
        mkdir -p "$4"
        part "$2" "NOT IN" train "$4"
        part "$3" "NOT IN" test "$4"
        part "$3" "IN" hidden "$4"
        "${dismax[@]}" train "$4/train.parquet" --out "$4/model" --recipe "$recipe" --epochs "${EPOCHS:-12}"
        "${dismax[@]}" evaluate --model "$4/model" --id "$4/test.parquet" --ood "$4/hidden.parquet" "${@:5}"
        ;;
    *) usage ;;
esac
