#!/usr/bin/env python3
"""Plants known problems in a labelled image dataset, for `recall.py` to see how many of them an audit finds.

    plant.py LABELLED.parquet --image COLUMN --label COLUMN --ood OOD.parquet --ood-image COLUMN --out FOLDER [--seed 0]
        [--reference REFERENCE.parquet] [--kinds NAME ...]

Writes FOLDER/planted.parquet (the input's schema and number of rows, in another order) and FOLDER/truth.parquet (row, kind,
related_row, note: one row for each planted one). Every share is of the input's rows. A planted row takes the place of an input
row and has one problem only; --kinds plants some of these, leaks need --reference, which has the input's columns:

    ood              5 %  an image of OOD.parquet under a random class
    label            3 %  the label changed to one of the other classes, each as likely
    broken           1 %  a fifth each: a JPEG cut at 30 to 90 % of its length, random bytes, no bytes, a JPEG's first 20 bytes,
                          a JPEG with its first marker or its frame header's marker inverted
    exact_duplicate  2 %  bytes, path and label of a row that is otherwise left alone (related_row)
    near_duplicate   2 %  the same with an edit, a quarter each: encoded again at quality 40 to 85; 6 to 20 grey levels brighter
                          or darker; moved by one pixel in one of 8 directions, edge pixels repeated; cropped to 90 to 97 % of
                          each side at a random place and resized back. The last three are encoded at quality 90.
    black            1 %  noise of 0 to 5 grey levels on black, of the replaced image's size
    white          0.5 %  the same on white
    one_tone       0.5 %  the same on a grey of 40 to 200
    unseen_label   0.5 %  a label beyond all classes
    format         0.5 %  a path that ends in .png, while the bytes are JPEG
    size           0.5 %  eight times as many pixels a side
    aspect         0.5 %  half as many columns, two and a half times as many rows
    blurred          1 %  blurred with a Gaussian of a tenth of the side
    grey             1 %  without colour
    leaked           1 %  bytes and label of a row of the reference (related_row is its row there)
    leaked_near      1 %  the same with an edit, as for near duplicates

The images must be JPEG in a struct of bytes and path, the labels whole numbers from 0.
"""

import argparse
import io
import json
import pathlib

import numpy
import pyarrow
import pyarrow.parquet
from PIL import Image, ImageFilter

SHARES = {
    "ood": 0.05, "label": 0.03, "broken": 0.01, "exact_duplicate": 0.02, "near_duplicate": 0.02, "black": 0.01, "white": 0.005,
    "one_tone": 0.005, "unseen_label": 0.005, "format": 0.005, "size": 0.005, "aspect": 0.005, "blurred": 0.01, "grey": 0.01,
    "leaked": 0.01, "leaked_near": 0.01,
}
LEAKS = {"leaked", "leaked_near"}
ROW_GROUP_ROWS = 1000


def decodes(data):
    try:
        Image.open(io.BytesIO(data)).load()
    except Exception:  # Pillow lets through what its plugins raise: OSError, SyntaxError, struct.error and others
        return False
    return True


def pixels(data):
    return numpy.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def jpeg(values, quality=90):
    out = io.BytesIO()
    Image.fromarray(values).save(out, "JPEG", quality=quality)
    return out.getvalue()


def cut(data, random):
    share = random.uniform(0.3, 0.9)
    return data[: int(len(data) * share)], f"cut at {share:.0%}"


def garbage(data, random):
    return random.bytes(len(data)), "random bytes"


def empty(data, random):
    return b"", "no bytes"


def header_only(data, random):
    return data[:20], "the first 20 bytes"


def inverted(data, random):
    # Without its start marker a file is no JPEG, and without a frame header no decoder knows the size.
    at, what = (0, "start marker") if random.integers(2) else (data.index(b"\xff\xc0"), "frame header's marker")
    return data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 2]) + data[at + 2 :], f"{what} inverted"


def encoded_again(data, random):
    again = data
    while again == data:  # the image's own quality often gives back its own bytes: that would be an exact duplicate
        quality = int(random.integers(40, 86))
        again = jpeg(pixels(data), quality)
    return again, f"quality {quality}"


def brightness(data, random):
    change = int(random.integers(6, 21) * random.choice([-1, 1]))
    return jpeg(numpy.clip(pixels(data).astype(int) + change, 0, 255).astype("uint8")), f"brightness {change:+}"


def moved(data, random):
    steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
    down, right = steps[random.integers(len(steps))]
    padded = numpy.pad(pixels(data), ((1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = padded.shape[:2]
    part = padded[1 - down : height - 1 - down, 1 - right : width - 1 - right]
    return jpeg(numpy.ascontiguousarray(part)), f"moved down {down}, right {right}"


def cropped(data, random):
    image = Image.fromarray(pixels(data))
    share = random.uniform(0.90, 0.97)
    width, height = (round(side * share) for side in image.size)
    left, top = int(random.integers(image.width - width + 1)), int(random.integers(image.height - height + 1))
    part = image.crop((left, top, left + width, top + height)).resize(image.size, Image.Resampling.BICUBIC)
    return jpeg(numpy.asarray(part)), f"cropped to {width} x {height} at {left}, {top}"


def tone(data, random, level):
    noise = random.integers(0, 6, pixels(data).shape)
    return jpeg(numpy.clip(noise + level, 0, 255).astype("uint8")), f"noise of 0 to 5 on {level}"


def resized(data, columns, rows):
    image = Image.fromarray(pixels(data))
    size = (round(image.width * columns), round(image.height * rows))
    return jpeg(numpy.asarray(image.resize(size, Image.Resampling.BICUBIC))), f"{size[0]} x {size[1]}"


def blurred(data):
    image = Image.fromarray(pixels(data))
    radius = min(image.size) / 10
    return jpeg(numpy.asarray(image.filter(ImageFilter.GaussianBlur(radius)))), f"radius {radius:g}"


def grey(data):
    return jpeg(numpy.asarray(Image.fromarray(pixels(data)).convert("L").convert("RGB"))), "without colour"


# What becomes of one image, and a note about it.
CHANGES = {
    "black": lambda data, random: tone(data, random, 0),
    "white": lambda data, random: tone(data, random, 250),
    "one_tone": lambda data, random: tone(data, random, int(random.integers(40, 201))),
    "size": lambda data, random: resized(data, 8, 8),
    "aspect": lambda data, random: resized(data, 0.5, 2.5),
    "blurred": lambda data, random: blurred(data),
    "grey": lambda data, random: grey(data),
}
BREAKS = [cut, garbage, empty, header_only, inverted]
EDITS = [encoded_again, brightness, moved, cropped]


def plant(images, labels, ood, reference, kinds, random):
    """The rows with the problems in them, and the truth: (row, kind, related_row, note), all in the input's order. `reference` are
    images and labels."""
    images, labels, truth = list(images), list(labels), []
    classes = max(labels) + 1
    order = iter(random.permutation(len(images)).tolist())
    foreign = iter(random.permutation(len(ood)).tolist())
    others = None
    for kind in kinds:
        if kind in LEAKS and others is None:
            others = iter(random.permutation(len(reference[0])).tolist())
        for number in range(round(len(images) * SHARES[kind])):
            row, related = next(order), None
            data, path = images[row]["bytes"], images[row]["path"]
            if kind == "ood":
                images[row] = ood[next(foreign)]
                labels[row] = int(random.integers(classes))
                note = images[row]["path"]
            elif kind == "label":
                note = f"was {labels[row]}"
                labels[row] = (labels[row] + int(random.integers(1, classes))) % classes
            elif kind == "broken":
                data, note = BREAKS[number % len(BREAKS)](data, random)
                assert not decodes(data), f"row {row} still decodes: {note}"
                images[row] = {"bytes": data, "path": path}
            elif kind in CHANGES:
                data, note = CHANGES[kind](data, random)
                images[row] = {"bytes": data, "path": path}
            elif kind == "unseen_label":
                labels[row], note = classes, f"was {labels[row]}"
            elif kind == "format":
                images[row], note = {"bytes": data, "path": f"{number}.png"}, f"was {path}"
            elif kind in LEAKS:
                related = next(others)
                source, note = reference[0][related], "same bytes"
                if kind == "leaked_near":
                    data, note = EDITS[number % len(EDITS)](source["bytes"], random)
                    source = {"bytes": data, "path": source["path"]}
                images[row], labels[row] = source, reference[1][related]
            else:
                related = next(order)
                source, note = images[related], "same bytes"
                if kind == "near_duplicate":
                    data, note = EDITS[number % len(EDITS)](source["bytes"], random)
                    source = {"bytes": data, "path": source["path"]}
                images[row], labels[row] = source, labels[related]
            truth.append((row, kind, related, note))
    return images, labels, truth


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=pathlib.Path)
    parser.add_argument("--image", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--ood", type=pathlib.Path, required=True)
    parser.add_argument("--ood-image", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--reference", type=pathlib.Path)
    parser.add_argument("--kinds", nargs="+", choices=SHARES)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kinds = arguments.kinds or [kind for kind in SHARES if arguments.reference or kind not in LEAKS]
    if LEAKS & set(kinds) and not arguments.reference:
        parser.error("leaks come from a --reference")
    random = numpy.random.default_rng(arguments.seed)

    table = pyarrow.parquet.read_table(arguments.labelled)
    ood = pyarrow.parquet.read_table(arguments.ood, columns=[arguments.ood_image])[arguments.ood_image].to_pylist()
    columns = {name: table[name].to_pylist() for name in (arguments.image, arguments.label)}
    reference = None
    if arguments.reference:
        other = pyarrow.parquet.read_table(arguments.reference, columns=[arguments.image, arguments.label])
        reference = [other[name].to_pylist() for name in (arguments.image, arguments.label)]
    images, labels, truth = plant(columns[arguments.image], columns[arguments.label], ood, reference, kinds, random)
    for name, values in ((arguments.image, images), (arguments.label, labels)):
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pyarrow.array(values, field.type))

    order = random.permutation(len(table))
    place = numpy.argsort(order).tolist()  # of each row before the shuffle, where it is after it
    moved_to = lambda kind, related: related if related is None or kind in LEAKS else place[related]
    truth = [(place[row], kind, moved_to(kind, related), note) for row, kind, related, note in truth]
    schema = pyarrow.schema([("row", "uint64"), ("kind", "string"), ("related_row", "uint64"), ("note", "string")])
    truth_table = pyarrow.Table.from_pylist([dict(zip(schema.names, row)) for row in sorted(truth)], schema)

    arguments.out.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table.take(order), arguments.out / "planted.parquet", row_group_size=ROW_GROUP_ROWS)
    pyarrow.parquet.write_table(truth_table, arguments.out / "truth.parquet")
    counts = {kind: sum(row[1] == kind for row in truth) for kind in kinds}
    print(json.dumps({"rows": len(table), "seed": arguments.seed, "planted": counts}))


if __name__ == "__main__":
    main()
