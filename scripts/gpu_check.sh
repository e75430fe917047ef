#!/usr/bin/env bash
# Proves the GPU path on a machine with an NVIDIA GPU, in under ten minutes. See docs/gpu.md.
#
#     scripts/gpu_check.sh pack FOLDER TRAIN TEST OOD PHOTOS   # here: needs Rust; the data are Parquet files
#     FOLDER/gpu_check.sh run                                  # there: needs Python with PyTorch, neither Rust nor a network
#
# `run` works through stages, most important first, each with a time limit. It prints a table, and writes it as JSON with the
# logs of all stages into $OUT (by default FOLDER/results). STAGES="0 1 2" chooses stages; DEVICE=cpu tries the script itself.
set -uo pipefail

pack() {
    set -e
    local folder=$1 train=$2 test=$3 ood=$4 photos=$5
    local repository; repository=$(cd "$(dirname "$0")/.." && pwd)
    cd "$repository"
    cargo build --release -p dismax-cli --no-default-features --features train --bin dismax
    mkdir -p "$folder/bin"
    local target=${CARGO_TARGET_DIR:-target}/release
    strip -o "$folder/bin/dismax" "$target/dismax"
    # Cargo says where the test's and the bench's programs are.
    program() { cargo "$@" --message-format=json | python3 -c '
import json, sys
found = [m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable")]
print(found[-1])'; }
    strip -o "$folder/bin/cuda" "$(program test --release --no-run -p dismax --test cuda)"
    strip -o "$folder/bin/cuda_loading" "$(program test --release --no-run -p dismax --test cuda_loading)"
    strip -o "$folder/bin/throughput" "$(program bench --no-run -p dismax-train --bench throughput)"
    cp "$train" "$folder/train.parquet"; cp "$test" "$folder/test.parquet"
    cp "$ood" "$folder/ood.parquet"; cp "$photos" "$folder/photos.parquet"
    cp -r models/cifar10-resnet20 "$folder/resnet20"
    cp scripts/gpu_check.sh scripts/gpu_check/*.py benches/compare/peers/{network,images,make_model}.py "$folder/"
    xz -T0 -f "$folder"/bin/*
    du -sh "$folder"
}

# stage NAME SECONDS COMMAND...: runs a command with a time limit, its output in a log whose end is shown.
stage() {
    local name=$1 limit=$2 start=$SECONDS code; shift 2
    echo "== $name"
    timeout -k 5 "$limit" "$@" >"$OUT/$name.log" 2>&1; code=$?
    tail -n 12 "$OUT/$name.log" | cut -c1-300
    echo "== $name: exit code $code after $((SECONDS - start)) s"
    printf '%s\t%s\t%s\n' "$name" "$code" "$((SECONDS - start))" >>"$OUT/stages.tsv"
    return $code
}

wanted() { case " ${STAGES:-0 1 2 3 4 5} " in *" $1 "*) ;; *) return 1 ;; esac; }

# links FILE COUNT FOLDER: a dataset of COUNT copies.
links() {
    mkdir -p "$3"
    for ((copy = 0; copy < $2; copy++)); do ln -sf "$PWD/$1" "$3/$copy.parquet"; done
}

run() {
    cd "$(dirname "$0")"
    export OUT=${OUT:-$PWD/results} PYTHONUNBUFFERED=1 DISMAX_REQUIRE_CUDA=1
    export DISMAX_MODEL=$PWD/resnet20 DISMAX_CIFAR10_TEST=$PWD/test.parquet
    local device=${DEVICE:-cuda} copies=${COPIES:-150} photos=${PHOTO_COPIES:-150} seconds=${SECONDS_TO_TRAIN:-150}
    mkdir -p "$OUT"; rm -f "$OUT/stages.tsv"
    for packed in bin/*.xz; do
        [ -e "$packed" ] || continue
        xz -df "$packed" 2>/dev/null ||
            python3 -c 'import lzma, os, sys; p = sys.argv[1]; open(p[:-3], "wb").write(lzma.open(p).read()); os.remove(p)' "$packed"
    done
    chmod +x bin/*
    local torch; torch=$(python3 -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))')
    # Behind what is set already: the driver may be found by it.
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$torch
    local score=(bin/dismax score --device "$device" --json --quiet --force --out "$OUT/scored.parquet")

    # The limits add up to less than ten minutes with 150 seconds of training.
    if wanted 0; then
        stage 0-environment 15 bash -c 'nvidia-smi; nproc; grep -m1 "model name" /proc/cpuinfo; ldd bin/dismax | grep -E "torch|cud|not found"; python3 -V'
    fi
    if wanted 1; then
        stage 1-load-cold 60 bin/dismax info resnet20 --device "$device"
        if ! stage 1-load-warm 20 bin/dismax info resnet20 --device "$device"; then
            LD_DEBUG=libs bin/dismax info resnet20 --device "$device" 2>&1 | grep -E "error|cannot|fatal" | head -40
            exit 1
        fi
    fi
    if wanted 2; then
        stage 2-loading 20 bin/cuda_loading --nocapture
        stage 2-tests 60 bin/cuda --nocapture --test-threads 1
    fi
    if wanted 3; then
        stage 3-train-rate 40 bin/dismax train train.parquet --arch resnet34 --loss dismax-dagger --epochs 3 --batch-size 512 \
            --lr 0.1 --out "$OUT/resnet34" --device "$device" --force
        [ -d resnet34 ] || cp -r "$OUT/resnet34" resnet34 2>/dev/null
        rm -rf "$OUT/resnet34"
        cp resnet34/training.csv "$OUT/train-rate.csv" 2>/dev/null
    fi
    if wanted 4; then
        links test.parquet "$copies" many
        links photos.parquet "$photos" manyphotos
        [ -d resnet18 ] || python3 make_model.py resnet18 resnet18 --data photos.parquet --image image --rows 100 --dismax bin/dismax >"$OUT/make-model.log" 2>&1
        # The logs say which layers run with cuDNN's fused kernels.
        export RUST_LOG=dismax=debug
        stage 4-score-resnet20 30 "${score[@]}" many --image img --model resnet20
        stage 4-score-resnet34 40 "${score[@]}" many --image img --model resnet34
        stage 4-score-photos 35 "${score[@]}" manyphotos --image image --model resnet18
        unset RUST_LOG
        stage 4-own-resnet34 15 bin/throughput network resnet34 --device "$device" --batch 1024 --seconds 3
        stage 4-bare 60 python3 bare_gpu.py --device "$device" resnet20:2048 resnet34:1024 resnet18:256
    fi
    if wanted 5; then
        # As many epochs as fit, by the rate that stage 3 measured.
        local epochs; epochs=$(python3 epochs.py "$OUT/train-rate.csv" "$seconds")
        stage 5-train $((seconds + 20)) bin/dismax train train.parquet --arch resnet34 --loss dismax-dagger --epochs "$epochs" \
            --out trained --device "$device" --force
        stage 5-evaluate 25 bin/dismax evaluate --model trained --id test.parquet --ood ood.parquet --device "$device" --json
        cp trained/training.csv "$OUT/training.csv" 2>/dev/null
    fi
    rm -f "$OUT"/scored.parquet
    python3 table.py "$OUT" | tee "$OUT/table.txt"
    tar -C "$OUT" -czf "$OUT/logs.tgz" --exclude logs.tgz . 2>/dev/null
}

case ${1:-} in
    pack) shift; [ $# = 5 ] || { grep '^#  ' "$0" >&2; exit 2; }; pack "$@" ;;
    run) run ;;
    *) grep '^#  ' "$0" >&2; exit 2 ;;
esac
