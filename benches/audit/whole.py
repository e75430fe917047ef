#!/usr/bin/env python3
"""Plants problems of a dataset as a whole, and says which of them an audit noticed.

    whole.py plant LABELLED.parquet --image COLUMN --label COLUMN --ood OOD.parquet --ood-image COLUMN --out PLANTED.parquet [--seed 0]
    whole.py judge AUDIT_OUT [--clean AUDIT_OUT]

The first writes the rows of LABELLED.parquet with all of these problems; classes are counted from 1:

    a class is missing      the eighth class has no rows
    a class is rare         the fourth has a twentieth of its rows
    labels are confused     half of the sixth class is labelled as the seventh
    light tells a class     the ninth is 45 grey levels lighter
    formats drift           half of the images are PNG
    unknown images          a twentieth of the others shows images of OOD.parquet
    a source is blurred     the source "b", which has a tenth of the rows
    broken images pile up   a twentieth of that source is cut off

The second reads the summary of an audit of these rows, with --group-by source and a --reference that has the classes as they are. It
prints what was noticed, and ends with status 1 where something was not. --clean is an audit of rows without these problems against
the same reference: what is noticed there is missed as well.
"""

import argparse
import io
import json
import pathlib
import sys

import numpy
import pyarrow
import pyarrow.parquet
from PIL import Image, ImageFilter

MISSING, RARE, CONFUSED, CONFUSED_AS, LIGHTER = 7, 3, 5, 6, 8
LARGE_PSI = 0.25
ROW_GROUP_ROWS = 1000


def encoded(values, format, **options):
    out = io.BytesIO()
    Image.fromarray(values).save(out, format, **options)
    return out.getvalue()


def pixels(data):
    return numpy.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def plant(images, labels, ood, random):
    """Images, labels and sources with the problems."""
    rows, foreign = [], iter(random.permutation(len(ood)).tolist())
    for image, label in zip(images, labels):
        if label == MISSING or (label == RARE and random.random() > 0.05):
            continue
        data, source = image["bytes"], "b" if random.random() < 0.1 else "a"
        given = CONFUSED_AS if label == CONFUSED and random.random() < 0.5 else label
        if label == LIGHTER:
            data = encoded(numpy.clip(pixels(data).astype(int) + 45, 0, 255).astype("uint8"), "JPEG", quality=90)
        elif random.random() < 0.05:
            data = ood[next(foreign)]["bytes"]
        if source == "b":
            data = encoded(numpy.asarray(Image.fromarray(pixels(data)).filter(ImageFilter.GaussianBlur(1.2))), "JPEG", quality=90)
        if random.random() < 0.5:
            data = encoded(pixels(data), "PNG")
        if source == "b" and random.random() < 0.05:
            data = data[: len(data) // 2]
        rows.append(({"bytes": data, "path": None}, given, source))
    return [list(column) for column in zip(*rows)]


def noticed(summary, names):
    """Which of the problems an audit speaks of."""

    def drifts(quantity):
        tests = [test for test in summary["drift"]["tests"] if test["by"] is None and test["quantity"] == quantity]
        return any(test["significant"] and test["psi"] > LARGE_PSI for test in tests)

    def told(property, name):
        found = [of for of in summary["spurious_correlations"]["properties"] if of["property"] == property and of["significant"]]
        return any(of["class"] == name and of["share"]["value"] > 0.5 for one in found for of in one["associations"])

    confused = names[CONFUSED_AS]
    return {
        "a class is missing": summary["class_balance"]["empty"] == 1,
        "a class is rare": summary["class_balance"]["rare"] == 1,
        "the model is wrong about a class": any(
            of["class"] == confused and of["significant"] for of in summary["class_accuracy"]["classes"]
        ),
        "sets of a class lack the label": any(
            (of["by"], of["value"]) == ("label", confused) and of["significant"] and of["coverage"]["value"] < 0.9
            for of in summary["coverage"]["coverages"]
        ),
        "a class is overconfident": any(
            (of["by"], of["value"]) == ("class", names[CONFUSED]) and of["significant"] and of["gap"]["value"] > 0.1
            for of in summary["calibration"]["groups"]
        ),
        "light tells a class": told("light", names[LIGHTER]),
        "labels drift": drifts("label"),
        "formats drift": drifts("format"),
        "there are images of another kind": summary["unknown"]["rejected"] > 0 or summary["unknown"]["has_drifted"],
        "the model is less sure of a source": any(
            (of["by"], of["value"]) == ("source", "b") and of["significant"] for of in summary["estimated_accuracy"]["estimates"]
        ),
        "broken images pile up": any(of["by"] == "source" and of["value"] == "b" for of in summary["slices"]["slices"]),
    }


def run_plant(arguments):
    random = numpy.random.default_rng(arguments.seed)
    table = pyarrow.parquet.read_table(arguments.labelled, columns=[arguments.image, arguments.label])
    ood = pyarrow.parquet.read_table(arguments.ood, columns=[arguments.ood_image])[arguments.ood_image].to_pylist()
    columns = plant(table[arguments.image].to_pylist(), table[arguments.label].to_pylist(), ood, random)
    schema = table.schema.append(pyarrow.field("source", pyarrow.string()))
    arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, schema)]
    pyarrow.parquet.write_table(pyarrow.table(arrays, schema=schema), arguments.out, row_group_size=ROW_GROUP_ROWS)
    print(json.dumps({"rows": len(columns[0]), "of": len(table), "seed": arguments.seed}))


def run_judge(arguments):
    def read(folder):
        summary = json.loads((folder / "summary.json").read_text())
        return noticed(summary, summary["model"]["classes"])

    planted = read(arguments.audit)
    clean = read(arguments.clean) if arguments.clean else dict.fromkeys(planted, False)
    for what, is_noticed in planted.items():
        verdict = "MISSED" if not is_noticed else "FALSE " if clean[what] else "ok    "
        print(verdict, what)
    if not all(planted.values()) or any(clean.values()):
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    planting = commands.add_parser("plant")
    planting.add_argument("labelled", type=pathlib.Path)
    planting.add_argument("--image", required=True)
    planting.add_argument("--label", required=True)
    planting.add_argument("--ood", type=pathlib.Path, required=True)
    planting.add_argument("--ood-image", required=True)
    planting.add_argument("--out", type=pathlib.Path, required=True)
    planting.add_argument("--seed", type=int, default=0)
    planting.set_defaults(run=run_plant)
    judging = commands.add_parser("judge")
    judging.add_argument("audit", type=pathlib.Path)
    judging.add_argument("--clean", type=pathlib.Path)
    judging.set_defaults(run=run_judge)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
