#!/usr/bin/env python3
"""How many of the unknown images planted in a dataset an audit finds, and how many of those it finds are known after all.

    power.py --images LABELLED.parquet --image COLUMN --label COLUMN --ood OOD.parquet --ood-image COLUMN --model MODEL \
        [--dismax COMMAND] [--draws 8] [--situations NAME ...] [--out FOLDER]

For each situation it draws images at random, without replacement, plants images of OOD.parquet among them, audits, and compares
the q-values in findings.parquet with what was planted. It prints a line for each situation with the mean over the draws: power (the
share of the planted images that is found) and, in brackets, the share of known images among the found ones, at false discovery
rates of 5, 10 and 20 %; how the images were judged; and the estimated share. The images must be JPEG in a struct of bytes and path.

    planted-N      N % of 9,500 images are planted
    few            5 % of 3,000 images
    nothing        9,000 images, none planted, in 20 draws: "reports" is the share of audits with any unknown image
    quality-50     nothing planted, all images encoded again at JPEG quality 50
    classes        5 % of 5,000 images, of which the classes 0, 8 and 9 are drawn 4 times as often
    known          1 %, with 100 other images of OOD.parquet given as known unknown ones
    reviewed       5 %; the 100 strangest are marked by what they are, and what the second audit finds beyond them counts
"""

import argparse
import collections
import csv
import io
import json
import pathlib
import subprocess
import tempfile

import numpy
import pyarrow
import pyarrow.parquet
from PIL import Image

RATES = (0.05, 0.1, 0.2)
ROW_GROUP_ROWS = 1000
MARKS = 100
EXAMPLES = 100


class Situation(collections.namedtuple("Situation", "rows planted often quality examples review draws")):
    """So many rows, the share of planted ones, classes that are drawn more often, and what else is done."""

    def __new__(cls, rows, planted, often=(), quality=None, examples=0, review=False, draws=None):
        return super().__new__(cls, rows, planted, often, quality, examples, review, draws)


SITUATIONS = {
    "planted-1": Situation(9500, 0.01),
    "planted-2": Situation(9500, 0.02),
    "planted-5": Situation(9500, 0.05),
    "planted-10": Situation(9500, 0.1),
    "few": Situation(3000, 0.05),
    "nothing": Situation(9000, 0.0, draws=20),
    "quality-50": Situation(9500, 0.0, quality=50),
    "classes": Situation(5000, 0.05, often=(0, 8, 9)),
    "known": Situation(9500, 0.01, examples=EXAMPLES),
    "reviewed": Situation(9500, 0.05, review=True),
}


class Images:
    """Encoded images and, where there are some, labels."""

    def __init__(self, path, image, label=None):
        table = pyarrow.parquet.read_table(path, columns=[image] + ([label] if label else []))
        self.bytes = [value["bytes"] for value in table[image].to_pylist()]
        self.labels = numpy.array(table[label]) if label else None


def encoded_again(data, quality):
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()


def write(path, images):
    column = pyarrow.array([{"bytes": data, "path": None} for data in images], pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))
    pyarrow.parquet.write_table(pyarrow.table({"image": column}), path, row_group_size=ROW_GROUP_ROWS)


class Draw:
    """One draw of a situation in a folder of its own."""

    def __init__(self, folder, situation, images, ood, seed):
        random = numpy.random.default_rng(seed)
        self.folder, planted = pathlib.Path(folder), round(situation.rows * situation.planted)
        weights = None
        if situation.often:
            weights = numpy.where(numpy.isin(images.labels, situation.often), 4.0, 1.0)
            weights /= weights.sum()
        known = random.choice(len(images.bytes), situation.rows - planted, replace=False, p=weights)
        unknown = random.choice(len(ood.bytes), planted + situation.examples, replace=False)
        drawn = [(images.bytes[at], False) for at in known] + [(ood.bytes[at], True) for at in unknown[:planted]]
        drawn = [drawn[at] for at in random.permutation(len(drawn))]
        if situation.quality:
            drawn = [(encoded_again(data, situation.quality), is_unknown) for data, is_unknown in drawn]
        self.is_unknown = numpy.array([is_unknown for _, is_unknown in drawn])
        write(self.folder / "images.parquet", [data for data, _ in drawn])
        self.examples = []
        if situation.examples:
            self.examples = [self.folder / "unknown.parquet"]
            write(self.examples[0], [ood.bytes[at] for at in unknown[planted:]])

    def audit(self, dismax, model, fdr, known=()):
        """Summary, and findings of unknown images by row: q-value (none for marked ones) and digest."""
        command = [dismax, "audit", self.folder / "images.parquet", "--model", model, "--out", self.folder / "audit", "--force"]
        command += ["--fdr", str(fdr), "--top", "0"]
        known = [*self.examples, *known]
        command += ["--unknown", *known] if known else []
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        summary = json.loads((self.folder / "audit" / "summary.json").read_text())
        columns = ["row", "kind", "q_value", "image_digest"]
        findings = pyarrow.parquet.read_table(self.folder / "audit" / "findings.parquet", columns=columns).to_pylist()
        return summary["unknown"], {found["row"]: found for found in findings if found["kind"] == "unknown"}

    def review(self, found):
        """Marks of the strangest rows by what they are, as a report exports them. Returns the file and the marked rows."""
        strangest = sorted(found, key=lambda row: (found[row]["q_value"], row))[:MARKS]
        path = self.folder / "marks.csv"
        with path.open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["image_digest", "kind", "mark", "file", "row"])
            for row in strangest:
                mark = "unknown" if self.is_unknown[row] else "known"
                lines.writerow([found[row]["image_digest"], "unknown", mark, "images.parquet", row])
        return path, strangest


def outcome(draw, found, reviewed):
    """Power and the share of known images among the found ones at each rate."""
    results = []
    for rate in RATES:
        rows = [row for row, of in found.items() if of["q_value"] is not None and of["q_value"] <= rate and row not in reviewed]
        right = int(draw.is_unknown[rows].sum()) if rows else 0
        planted = draw.is_unknown.sum() - draw.is_unknown[list(reviewed)].sum() if reviewed else draw.is_unknown.sum()
        results.append((right / max(planted, 1), (len(rows) - right) / max(len(rows), 1), len(rows)))
    return results


def run(name, situation, images, ood, arguments):
    draws, outcomes, methods, shares, drifts, reports = situation.draws or arguments.draws, [], collections.Counter(), [], 0, 0
    for seed in range(draws):
        with tempfile.TemporaryDirectory(dir=arguments.out) as folder:
            draw, reviewed = Draw(folder, situation, images, ood, seed), []
            # With nothing to find the audit is run as people run it; else at the largest rate, which lists all q-values below.
            fdr = RATES[-1] if situation.planted else RATES[0]
            summary, found = draw.audit(arguments.dismax, arguments.model, fdr)
            if situation.review:
                marks, reviewed = draw.review(found)
                summary, found = draw.audit(arguments.dismax, arguments.model, fdr, [marks])
            outcomes.append(outcome(draw, found, reviewed))
        methods[summary["method"]] += 1
        drifts += summary["has_drifted"]
        reports += len(found) > 0
        shares.append(summary["out_of_distribution"]["value"] if summary["out_of_distribution"] else float("nan"))
    mean = numpy.mean(outcomes, axis=0)
    rates = " | ".join(f"{100 * power:.0f} % ({wrong:.2f})" for power, wrong, _ in mean)
    judged = ", ".join(f"{method} {count}" for method, count in methods.items())
    print(f"| {name} | {draws} | {rates} | {judged} | {drifts} | {reports} | {mean[0][2]:.0f} | {numpy.mean(shares):.3f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True)
    parser.add_argument("--image", default="img")
    parser.add_argument("--label", default="label")
    parser.add_argument("--ood", required=True)
    parser.add_argument("--ood-image", default="image")
    parser.add_argument("--model", required=True)
    parser.add_argument("--dismax", default="dismax")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--situations", nargs="+", choices=SITUATIONS, default=list(SITUATIONS))
    parser.add_argument("--out", default=None, help="folder for what is drawn and audited; a temporary one by default")
    arguments = parser.parse_args()
    images = Images(arguments.images, arguments.image, arguments.label)
    ood = Images(arguments.ood, arguments.ood_image)
    print("| situation | draws | FDR 5 % | 10 % | 20 % | judged by | drifted | reports | found at 5 % | share |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.situations:
        run(name, SITUATIONS[name], images, ood, arguments)


if __name__ == "__main__":
    main()
