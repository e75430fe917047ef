#!/usr/bin/env python3
"""How fast `dismax score` is on many files beside one, how much memory a long run takes, and how camera pictures do.

    benches/inputs.py MODEL IMAGES.parquet [--image img] [--photo-model MODEL --photos PHOTOS.parquet] [--files 10000]
                      [--rows 1000000] [--rounds 3] [--dismax PATH]

MODEL scores small images, of which IMAGES.parquet holds some (CIFAR-10's test set has 10,000). They are packed as one Parquet
file, as so many image files, a tar file and so many Parquet files of a row each, and scored in turns: the table shows medians and
the time per image as a multiple of that for one file. Then so many rows, in copies of the file, are scored into a folder of
parts, twice. With --photos, pictures are scaled to 4000x3000 and scored with the other model. Needs pyarrow and Pillow.
"""

import argparse
import io
import os
import pathlib
import shutil
import statistics
import tarfile
import tempfile
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
from sql_throughput import run

PHOTOS = 40
PHOTO_SIZE = (4000, 3000)
NOISE = 4
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def images_of(file, column):
    """The encoded images of a file."""
    table = pq.read_table(file)
    names = [column] if column else [name for name in ("image", "img") if name in table.column_names]
    images = table.column(names[0]).to_pylist()
    return [image["bytes"] if isinstance(image, dict) else image for image in images]


def table_of(images, first=0):
    rows = [{"bytes": image, "path": f"{number:06}.png"} for number, image in enumerate(images, first)]
    return pa.table({"image": pa.array(rows, IMAGE)})


def pack(images, folder):
    """The same images in every packing; names and paths."""
    one, files, many, archive = (folder / name for name in ("one.parquet", "images", "many", "one.tar"))
    pq.write_table(table_of(images), one, row_group_size=1000)
    files.mkdir()
    many.mkdir()
    with tarfile.open(archive, "w") as tar:
        for number, image in enumerate(images):
            name = f"{number:06}.png"
            (files / name).write_bytes(image)
            member = tarfile.TarInfo(name)
            member.size = len(image)
            tar.addfile(member, io.BytesIO(image))
            pq.write_table(table_of([image], number), many / f"{number:06}.parquet")
    return {"one Parquet file": one, "image files": files, "one tar file": archive, "Parquet files of one row": many}


class OpenFiles(threading.Thread):
    """The most files that any `dismax` below this process had open."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.ended = 0, threading.Event()

    def run(self):
        me = os.getpid()
        while not self.ended.wait(0.02):
            for process in pathlib.Path(f"/proc/{me}/task/{me}/children").read_text().split():
                try:
                    self.most = max(self.most, len(os.listdir(f"/proc/{process}/fd")))
                except OSError:
                    pass


def packings(options, images, folder):
    inputs = pack(images, folder)
    seconds, open_files = {name: [] for name in inputs}, {}
    for _ in range(options.rounds):
        for name, path in inputs.items():
            watch = OpenFiles()
            watch.start()
            command = [options.dismax, "-q", "score", str(path), "--model", options.model, "--out", str(folder / "out.parquet"), "--force"]
            seconds[name].append(run(command)[0])
            watch.ended.set()
            open_files[name] = max(watch.most, open_files.get(name, 0))
    base = statistics.median(seconds["one Parquet file"])
    print(f"{len(images)} images            images/s  time per image  open files")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:26}{len(images) / median:8.0f}{median / base:16.2f}{open_files[name]:12}")


def long_run(options, images, folder):
    copies = max(1, options.rows // len(images))
    source = folder / "copies"
    source.mkdir()
    pq.write_table(table_of(images), source / "0000.parquet", row_group_size=1000)
    for number in range(1, copies):
        os.link(source / "0000.parquet", source / f"{number:04}.parquet")

    def score(inputs, out):
        return run([options.dismax, "-q", "score", str(inputs), "--model", options.model, "--out", f"{folder / out}/"])

    _, _, small = score(source / "0000.parquet", "few")
    seconds, _, large = score(source, "parts")
    again, _, _ = score(source, "parts")
    rows = copies * len(images)
    print(f"{rows} rows in {copies} files into parts: {rows / seconds:.0f} images/s, peak {large:.0f} MiB; "
          f"{len(images)} rows: {small:.0f} MiB ({large / small - 1:+.1%}); again: {again:.1f} s")


def photographs(options, folder):
    from PIL import Image, ImageChops

    place = folder / "photographs"
    place.mkdir()
    for number, image in enumerate(images_of(options.photos, None)[:PHOTOS]):
        picture = Image.open(io.BytesIO(image)).convert("RGB").resize(PHOTO_SIZE, Image.BICUBIC)
        # A camera's noise, which makes the files as large as a camera's.
        noise = Image.effect_noise(PHOTO_SIZE, NOISE).convert("RGB")
        picture = ImageChops.add(picture, noise, offset=-128)
        picture.save(place / f"{number:02}.jpg", quality=92)

    def pillow():
        start = time.perf_counter()
        for path in sorted(place.iterdir()):
            picture = Image.open(path)
            picture.draft("RGB", (256, 256))
            picture.resize((256, 256), Image.BILINEAR)
        return time.perf_counter() - start

    command = [options.dismax, "-q", "score", str(place), "--model", options.photo_model, "--out", str(folder / "out.parquet"), "--force"]
    runs = [run(command) for _ in range(options.rounds)]
    seconds, peak = statistics.median(r[0] for r in runs), max(r[2] for r in runs)
    draft = statistics.median(pillow() for _ in range(options.rounds))
    print(f"{PHOTOS} photographs of 12 megapixels: {PHOTOS / seconds:.1f} images/s with the network, peak {peak:.0f} MiB; "
          f"Pillow in draft mode decodes {PHOTOS / draft:.1f} images/s on one core")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("images")
    parser.add_argument("--image")
    parser.add_argument("--photo-model")
    parser.add_argument("--photos")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dismax", default=shutil.which("dismax") or "target/release/dismax")
    options = parser.parse_args()
    images = images_of(options.images, options.image)[:options.files]
    with tempfile.TemporaryDirectory() as folder:
        packings(options, images, pathlib.Path(folder))
        long_run(options, images, pathlib.Path(folder))
        if options.photos:
            photographs(options, pathlib.Path(folder))


if __name__ == "__main__":
    main()
