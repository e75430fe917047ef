#!/usr/bin/env python3
"""Write examples/data/digits/: the UCI handwritten digits as Parquet of PNG in the Hugging Face layout.

Needs scikit-learn, pyarrow and Pillow (the committed files: 1.9.1, 26.0.1 and 13.0.0; the same versions write the
same bytes). Nobody needs to run it to use the project: its output is committed.
"""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_digits

OUT = Path(__file__).resolve().parent.parent / "examples" / "data" / "digits"
KNOWN = 8  # digits 0 to 7 are the classes, 8 and 9 stay unseen
SHARES = {"train": 0.6, "validation": 0.15}  # the rest is the test set
SEED = 0
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(pixels):
    """8x8 values 0 to 16 as a grey PNG, 0 to 255."""
    grey = np.rint(pixels * (255 / 16)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", optimize=True)
    return file.getvalue()


def write(name, columns, class_names=()):
    """One Parquet file with the schema metadata by which Hugging Face datasets knows images and classes."""
    features = {"image": {"_type": "Image"}}
    for field, _ in columns:
        if field.name == "label":
            features["label"] = {"names": list(class_names), "_type": "ClassLabel"}
        elif field.name != "image":
            features[field.name] = {"dtype": str(field.type), "_type": "Value"}
    schema = pa.schema(
        [field for field, _ in columns],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    table = pa.table([pa.array(values, field.type) for field, values in columns], schema=schema)
    pq.write_table(table, OUT / name, row_group_size=500, compression="zstd")


def images_and_labels(name, images, labels, rows, classes):
    """A labelled file: columns `image` and `label`."""
    columns = [
        (pa.field("image", IMAGE), [images[i] for i in rows]),
        (pa.field("label", pa.int64()), [int(labels[i]) for i in rows]),
    ]
    write(name, columns, [str(c) for c in range(classes)])


def broken_rows(image):
    """Images as they come in real data: (image, where it comes from)."""
    whole = image["bytes"]
    return [
        (None, "broken: null"),
        ({"bytes": None, "path": "missing.png"}, "broken: null bytes"),
        ({"bytes": b"", "path": "empty.png"}, "broken: zero bytes"),
        ({"bytes": whole[: len(whole) // 2], "path": "truncated.png"}, "broken: truncated"),
        ({"bytes": whole[:40] + bytes(len(whole) - 40), "path": "zeroed.png"}, "broken: zeroed after 40 bytes"),
        ({"bytes": b"<html>404 Not Found</html>", "path": "page.png"}, "broken: a web page"),
    ]


def main():
    digits = load_digits()
    labels = digits.target
    images = [{"bytes": png(p), "path": f"{i:04}.png"} for i, p in enumerate(digits.images)]

    random = np.random.RandomState(SEED)
    parts = {"train": [], "validation": [], "test": []}
    for digit in range(KNOWN):
        rows = random.permutation(np.flatnonzero(labels == digit))
        for name, share in SHARES.items():
            cut = round(np.count_nonzero(labels == digit) * share)
            parts[name] += rows[:cut].tolist()
            rows = rows[cut:]
        parts["test"] += rows.tolist()
    unseen = np.flatnonzero(labels >= KNOWN).tolist()

    OUT.mkdir(parents=True, exist_ok=True)
    for name, rows in parts.items():
        images_and_labels(name + ".parquet", images, labels, sorted(rows), KNOWN)
    images_and_labels("unseen.parquet", images, labels, unseen, len(digits.target_names))

    test = sorted(parts["test"])
    mixed = [(images[i], int(labels[i]), "known digit") for i in test]
    mixed += [(images[i], int(labels[i]), "unseen digit") for i in unseen]
    mixed += [(image, None, source) for image, source in broken_rows(images[test[0]])]
    mixed = [mixed[i] for i in random.permutation(len(mixed))]
    write(
        "mixed.parquet",
        [
            (pa.field("id", pa.int32()), list(range(len(mixed)))),
            (pa.field("image", IMAGE), [row[0] for row in mixed]),
            (pa.field("digit", pa.int64()), [row[1] for row in mixed]),
            (pa.field("source", pa.string()), [row[2] for row in mixed]),
        ],
    )


if __name__ == "__main__":
    main()
