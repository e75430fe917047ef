#!/usr/bin/env bash
# Packs dismax for machines without Rust, Python and compilers:  scripts/dist.sh
#
# Writes target/dist/dismax-VERSION-x86_64-linux.tar.zst with the program, which finds libtorch beside itself, the models of CIFAR-10,
# manual pages, completions, the licence texts that come with the crates, and a bill of materials. Needs zstd and binutils.
# LIBTORCH must be what setup_libtorch.py fetches. Not for publication yet: libtorch's own licence texts are not in it.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
libtorch=${LIBTORCH:-$PWD/.libtorch/torch}
version=$(cargo pkgid --package dismax-cli | sed 's/.*[#@]//')
name=dismax-$version-x86_64-linux
out=$target/dist/$name
rm -rf "$target/dist"
mkdir -p "$out/bin" "$out/lib" "$out/models"

# FEATURES leaves commands out of a smaller one.
DISMAX_RPATH='$ORIGIN/../lib' LIBTORCH=$libtorch cargo build --release --locked --package dismax-cli --bin dismax \
    ${FEATURES:+--no-default-features --features "$FEATURES"}
strip -o "$out/bin/dismax" "$target/release/dismax"
# What a CPU needs, also where the machine has a GPU.
cp --dereference "$libtorch"/lib/{libc10.so,libgomp.so.1,libtorch.so,libtorch_cpu.so} "$out/lib"
cp --dereference "$libtorch"/../nvidia/cu13/lib/{libcudart.so.13,libcupti.so.13} "$out/lib"
cp -r models/. "$out/models"
cp README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$out"

"$out/bin/dismax" man "$out/share/man/man1"
completions() { mkdir -p "$(dirname "$out/share/$2")" && "$out/bin/dismax" completions "$1" >"$out/share/$2"; }
completions bash bash-completion/completions/dismax
completions zsh zsh/site-functions/_dismax
completions fish fish/vendor_completions.d/dismax.fish
scripts/bill_of_materials.py "$out"

(cd "$out" && find . -type f ! -name SHA256SUMS -printf '%P\n' | sort | xargs -d '\n' sha256sum >SHA256SUMS)
# The same files give the same archive.
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@"$(git log -1 --format=%ct 2>/dev/null || echo 0)" \
    --directory "$target/dist" "$name" | zstd -q -19 -T0 -o "$out.tar.zst"
(cd "$target/dist" && sha256sum "$name.tar.zst" | tee "$name.tar.zst.sha256")
