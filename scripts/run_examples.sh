#!/usr/bin/env bash
# Runs the programs in examples/ one after the other: the first trains the model that the others use.
#
#     scripts/run_examples.sh [CARGO_FLAG...]
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mixed=examples/data/digits/mixed.parquet

example() {
    printf '\n== examples/%s.rs\n' "$1"
    cargo run --quiet "${flags[@]}" --example "$1" -- "${@:2}"
}

flags=("$@")
example train "$folder/model"
example score_stream "$folder/model" "$mixed"
example audit "$folder/model" "$mixed" "$folder/audit"
test -s "$folder/audit/report.html" && test -s "$folder/audit/findings.parquet"
example sql "$folder/model" "$mixed"
example filter "$folder/model" "$mixed" "$folder/known.parquet" "$folder/rest.parquet"
test -s "$folder/known.parquet" && test -s "$folder/rest.parquet"

printf '\n== examples/audit_gate.sh\n'
DISMAX="cargo run --quiet ${flags[*]} --bin dismax --" examples/audit_gate.sh "$folder/gate"
test -s "$folder/gate/kept.parquet" && test -s "$folder/gate/audit.xml"

printf '\n== examples/embeddings.sh\n'
DISMAX="cargo run --quiet ${flags[*]} --bin dismax --" examples/embeddings.sh "$folder/embeddings"
test -s "$folder/embeddings/scored.parquet" && test -s "$folder/embeddings/audit/report.html"

printf '\n== examples/finetune.sh\n'
DISMAX="cargo run --quiet ${flags[*]} --bin dismax --" examples/finetune.sh "$folder/finetune"
test -s "$folder/finetune/frozen/README.md" && test -s "$folder/finetune/embeddings.parquet"
