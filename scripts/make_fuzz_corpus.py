#!/usr/bin/env python3
"""Writes what the fuzzer starts from: small sound files of every kind, into `fuzz/corpus` and `fuzz/model`.

    scripts/make_fuzz_corpus.py DISMAX

`DISMAX` is the command's program. Needs pyarrow and Pillow.
"""

import io
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from PIL import Image

FUZZ = Path(__file__).resolve().parent.parent / "fuzz"


def picture(mode, size=(9, 7)):
    numbers = random.Random(mode)
    image = Image.new("RGBA", size)
    image.putdata([tuple(numbers.randrange(256) for _ in range(4)) for _ in range(size[0] * size[1])])
    return image.convert(mode)


def encoded(mode, form, **options):
    file = io.BytesIO()
    picture(mode).save(file, form, **options)
    return file.getvalue()


def images():
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "grey.png": encoded("L", "PNG"),
        "rgb.png": encoded("RGB", "PNG"),
        "rgba.png": encoded("RGBA", "PNG", icc_profile=b"profile" * 9),
        "palette.png": encoded("P", "PNG"),
        "bits.png": encoded("1", "PNG"),
        "sixteen.png": encoded("I;16", "PNG"),
        "rgb.jpg": encoded("RGB", "JPEG", quality=60),
        "grey.jpg": encoded("L", "JPEG", quality=60),
        "cmyk.jpg": encoded("CMYK", "JPEG", quality=60),
        "progressive.jpg": encoded("RGB", "JPEG", quality=60, progressive=True),
        "turned.jpg": encoded("RGB", "JPEG", quality=60, exif=exif),
        "lossy.webp": encoded("RGB", "WEBP", quality=30),
        "lossless.webp": encoded("RGBA", "WEBP", lossless=True),
        "palette.gif": encoded("P", "GIF"),
        "rgb.bmp": encoded("RGB", "BMP"),
        "palette.bmp": encoded("P", "BMP"),
        "plain.tiff": encoded("RGB", "TIFF"),
        "lzw.tiff": encoded("RGB", "TIFF", compression="tiff_lzw"),
        "deflate.tiff": encoded("L", "TIFF", compression="tiff_adobe_deflate"),
        "packbits.tiff": encoded("RGB", "TIFF", compression="packbits"),
    }


def table():
    pictures = [encoded("L", "PNG"), None, encoded("RGB", "JPEG", quality=30)]
    return pa.table(
        {
            "image": pa.array([{"bytes": picture, "path": "a.png"} for picture in pictures]),
            "label": pa.array(["cat", "dog", None]).dictionary_encode(),
            "vector": pa.array([[1.0, 2.0], None, [0.5, 3.0]], pa.list_(pa.float32(), 2)),
            "when": pa.array([1, 2, None], pa.timestamp("us")),
        }
    )


def parquet(**options):
    file = io.BytesIO()
    pq.write_table(table(), file, **options)
    return file.getvalue()


def stream(compression=None):
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table().schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table())
    return file.getvalue()


def arrow_file(compression):
    file = io.BytesIO()
    pyarrow.feather.write_feather(table(), file, compression=compression)
    return file.getvalue()


def archive(mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for name, contents in {"0.png": encoded("L", "PNG"), "0.cls": b"3", "0.json": b'{"label": "cat"}', "1.jpg": b""}.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    return file.getvalue()


def model(program, out):
    """A model of embeddings of two numbers."""
    numbers = random.Random(0)
    rows = [(label, [numbers.gauss(2 * label - 1, 0.3), numbers.gauss(1, 0.3)]) for label in (0, 1) for _ in range(40)]
    data = pa.table({"vector": pa.array([row[1] for row in rows], pa.list_(pa.float32(), 2)), "label": [str(row[0]) for row in rows]})
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(data, f"{folder}/data.parquet")
        words = ["--quiet", "train", f"{folder}/data.parquet", "--embedding", "vector", "--validation", "0.5"]
        subprocess.run([program, *words, "--out", f"{folder}/model"], check=True)
        out.mkdir(exist_ok=True)
        for path in sorted(Path(folder, "model").iterdir()):
            if path.name not in ("README.md", "SHA256SUMS"):
                shutil.copy(path, out / path.name)


def main():
    model(sys.argv[1], FUZZ / "model")
    files = ["calibration.json", "config.json", "features.safetensors", "metrics.json", "model.safetensors", "self_check.safetensors"]
    shape = b'{"shape": [3, 2, 3], "dim_names": ["H", "W", "C"]}'
    corpora = {
        "image": images(),
        "raw_pixels": {
            "plain": bytes([0, 4, 3, 3]) + bytes(range(36)),
            "tensor": bytes([1, 18, 0, 0]) + shape + b"\0" + bytes(18),
            "nested": bytes([2, 3, 3, 1]) + bytes(range(27)),
            "grey": bytes([2, 5, 0, 0]) + bytes(range(40)),
        },
        "parquet": {
            "plain.parquet": parquet(compression="none"),
            "snappy.parquet": parquet(compression="snappy"),
            "zstd-v2.parquet": parquet(compression="zstd", data_page_version="2.0", write_page_index=True),
            "old.parquet": parquet(version="1.0", compression="gzip", use_dictionary=False),
        },
        "arrow_file": {f"{kind}.arrow": arrow_file(kind) for kind in ("uncompressed", "lz4", "zstd")},
        "arrow_stream": {"plain.arrows": stream(), "zstd.arrows": stream("zstd"), "lz4.arrows": stream("lz4")},
        "tar": {"plain.tar": archive("w"), "gzip.tar": archive("w:gz")},
        "metadata": {
            "csv": b"\0file_name,label,size\na.png,cat,3\nb.png,dog,\n",
            "jsonl": b'\1{"file_name": "a.png", "label": "cat", "box": [1, 2]}\n',
        },
        "bundle": {name: bytes([at]) + (FUZZ / "model" / name).read_bytes() for at, name in enumerate(files)},
    }
    for target, contents in corpora.items():
        folder = FUZZ / "corpus" / target
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, data in contents.items():
            (folder / name).write_bytes(data)


main()
