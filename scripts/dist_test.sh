#!/usr/bin/env bash
# Unpacks what `make dist` wrote into an empty root folder and uses it there:  scripts/dist_test.sh ARCHIVE
#
# The folder has the C and C++ libraries of this machine, which any Linux has, and nothing else: no shell, no Python, no compiler, no
# other libtorch. Needs the rights to chroot (root, or user namespaces).
set -euo pipefail
cd "$(dirname "$0")/.."

archive=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/opt" "$root/tmp" "$root/data"
tar --use-compress-program=zstd --extract --file "$archive" --directory "$root/opt"
home=$(echo "$root"/opt/dismax-*)
(cd "$home" && sha256sum --check --quiet SHA256SUMS)
cp examples/data/digits/*.parquet "$root/data"

# What the program needs of the system. The path of the loader stands in the program itself.
for library in "$home"/bin/dismax "$home"/lib/*.so*; do
    LD_LIBRARY_PATH=$home/lib ldd "$library" 2>/dev/null | grep -oE '/[^ ]+' | grep -v "^$home" || true
done | sort -u | while read -r library; do
    case $(basename "$library") in
        ld-linux-*|libc.so.*|libm.so.*|libdl.so.*|libpthread.so.*|librt.so.*|libgcc_s.so.*|libstdc++.so.*)
            cp --dereference --parents "$library" "$root" ;;
        *) echo "the program needs $library, which is not part of every system" >&2 && exit 1 ;;
    esac
done

inside() {
    if [ "$(id -u)" = 0 ]; then chroot "$root" "$@"; else unshare --map-root-user chroot "$root" "$@"; fi
}
program=${home#"$root"}
dismax() { inside "$program/bin/dismax" "$@"; }
dismax --version
dismax --quiet train /data/train.parquet --out /tmp/model --epochs 3 --no-flip --validation /data/validation.parquet
dismax --quiet evaluate --model /tmp/model --id /data/test.parquet --ood /data/unseen.parquet
dismax score /data/mixed.parquet --model /tmp/model --out /tmp/scored.parquet
dismax --quiet audit /data/mixed.parquet --model /tmp/model --out /tmp/audit
dismax export "$program/models/cifar10-vgg8" --onnx /tmp/model.onnx
# A smaller archive has no SQL.
if dismax sql --help >/dev/null 2>&1; then dismax sql "SELECT source, count(*) FILTER (WHERE is_ood) AS flagged FROM '/tmp/scored.parquet' GROUP BY source ORDER BY source"; fi
test -s "$home/share/man/man1/dismax-score.1" -a -s "$home/share/bash-completion/completions/dismax" -a -s "$home/bom.cdx.json"
test -n "$(ls "$home/licenses")"
glibc=$(objdump -T "$home/bin/dismax" "$home"/lib/*.so* | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -1)
echo "everything works; the newest symbol is of $glibc"
