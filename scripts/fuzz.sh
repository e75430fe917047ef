#!/usr/bin/env bash
# Feeds every fuzz target random bytes, with libFuzzer, and prints how often:  scripts/fuzz.sh MINUTES [TARGET...]
#
# All targets together take MINUTES on one core; CORES (1) of them run at a time. What reaches new code is kept in target/fuzz/corpus,
# where the next run begins. What ends a target is written to fuzz/regressions/TARGET, where `cargo test` reads it again.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! [[ "${1:-}" =~ ^[1-9][0-9]*$ ]]; then
    sed -n 's/^# \{0,1\}//; 2p' "$0" >&2
    exit 2
fi
minutes=$1
shift
read -r -a targets <<<"${*:-image raw_pixels parquet arrow_file arrow_stream tar metadata bundle}"
output=${CARGO_TARGET_DIR:-target}/fuzz
export LIBTORCH="${LIBTORCH:-$PWD/.libtorch/torch}"

# The counters that libFuzzer steers by. Flags of a stable compiler; those of a sanitizer are not.
counters="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
counters="$counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# Overflows and broken promises of our own are findings too.
RUSTFLAGS="$counters -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks" CARGO_TARGET_DIR=$output \
    cargo build --release --package dismax-fuzz --features libfuzzer --target x86_64-unknown-linux-gnu

run() {
    local target=$1 corpus=$output/corpus/$1 log=$output/$1.log
    mkdir -p "$corpus" "fuzz/regressions/$target"
    # A run may take ten seconds and two gigabytes at most.
    DISMAX_FUZZ_TARGET=$target OMP_NUM_THREADS=1 "$output/x86_64-unknown-linux-gnu/release/dismax-fuzz" \
        "$corpus" "fuzz/corpus/$target" -max_total_time=$((minutes * 60 / ${#targets[@]})) -timeout=10 -rss_limit_mb=2048 \
        -malloc_limit_mb=1024 -max_len=65536 -print_final_stats=1 -artifact_prefix="fuzz/regressions/$target/" >"$log" 2>&1 || true
    rmdir --ignore-fail-on-non-empty "fuzz/regressions/$target"
    awk -v target="$target" '
        /^stat::number_of_executed_units/ { runs = $2 }
        /cov: / { for (field = 1; field < NF; field++) if ($field == "cov:") edges = $(field + 1) }
        /Test unit written to/ { found = found " " $NF }
        END {
            printf "%-14s %12d runs %8d edges  %s\n", target, runs, edges, found ? "FOUND" found : "nothing found"
            exit found != "" || runs == 0
        }' "$log" || touch "$output/failed"
}
rm -f "$output/failed"
for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "${CORES:-1}" ]; do wait -n; done
    run "$target" &
done
wait
if [ -e "$output/failed" ]; then
    echo "a target found something or did not run; $output/TARGET.log says more" >&2
    exit 1
fi
