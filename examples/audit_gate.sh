#!/usr/bin/env bash
# From a dataset with problems to one that passes: audit, accept, clean, audit again.
#
#     examples/audit_gate.sh [OUTPUT_FOLDER]
#
# DISMAX is the command to run (default: `dismax` from PATH).
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-gate-output}
read -r -a dismax <<<"${DISMAX:-dismax}"
mkdir -p "$out"

audit() { # INPUT NAME [FLAG...]
    "${dismax[@]}" audit "$1" --out "$out/$2" --force \
        --fail-on 'broken>0,exact_duplicate>0,blurred>0' "${@:3}"
}

echo "== The dataset as it came: exit code 5 would stop a pipeline here"
code=0
audit examples/data/digits/mixed.parquet before --accept-template "$out/findings.csv" || code=$?
test "$code" = 5

echo "== The blurred digits can be read: accept them, in a file for version control"
sed -n '1p; /,blurred,/s/,,,,/,Ann,can be read,,/p' "$out/findings.csv" >"$out/accepted.csv"

echo "== Broken images go, of duplicates one stays"
"${dismax[@]}" clean "$out/before" --accept "$out/accepted.csv" --keep-one exact_duplicate \
    --out "$out/kept.parquet" --removed "$out/removed.parquet" --force

echo "== The clean dataset passes"
audit "$out/kept.parquet" after --accept "$out/accepted.csv" --junit "$out/audit.xml" --markdown "$out/audit.md"
