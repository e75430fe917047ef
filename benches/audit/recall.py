#!/usr/bin/env python3
"""What an audit found of the problems that `plant.py` planted: precision and recall for each kind.

    recall.py FOLDER AUDIT_OUT [--fdr 0.05] [--reference REFERENCE.parquet] [--json] [--floors]

FOLDER has planted.parquet and truth.parquet, AUDIT_OUT the findings.parquet of an audit of FOLDER/planted.parquet, with the same
--reference if the rows were planted with one. Kinds that were not planted are left out.

The rules:

broken      Findings undecodable, truncated and empty, counted by row. Precision and recall against the planted rows.
exact       A planted pair is found when findings connect its two rows, whichever of them is named. A finding is right when the
            bytes of its two rows are equal and decode; a right one that was not planted is natural. Precision counts natural ones
            as right, "planted only" as wrong.
near        The same; right when the pair was planted, or when likeness.py sees the same picture in pixels (natural). Equal bytes
            are not near: that is the other kind. Rows with equal bytes stand for one another.
unknown     The proportion of false discoveries is that of all findings, as the rate that the audit was asked for. False ones are
            in-distribution images (rows left alone, labels, formats or sizes changed, duplicates, leaks) and broken rows. Planted
            ones that are black, white, of one tone, blurred, stretched or grey are unknown to the network, but not planted as OOD:
            they are set aside from precision and recall.
label       Findings label_issue ranked by score, highest first. Foreign and black images are set aside: no label of theirs is
            right. "strict" counts them as wrong. "at recall 0.6" is the shortest beginning of the ranking that has 60 % of the
            planted ones. Errors in the data's own labels count as wrong.
black       Findings near_black, and so for white, one_tone, size, aspect, blurred, unseen_label and format. Natural ones count as
            wrong, since nothing says that they are not; what was planted in other sizes is blurred as well, and is set aside.
grey        Findings grey, where natural ones are right if the channels of the image differ by less than 2 of 255 on average.
leaked      As exact and near, against the rows of the reference.

A precision without findings is n/a, and then its floor is missed. `--floors` ends with status 1 where a floor is missed.
"""

import argparse
import collections
import json
import math
import operator
import pathlib
import sys

import pyarrow.parquet

BROKEN = {"undecodable", "truncated", "empty"}
# Kinds of which a planted row is found by a finding of one kind.
SINGLE = {
    "black": "near_black", "white": "near_white", "one_tone": "near_uniform", "unseen_label": "unseen_label",
    "format": "mislabelled_format", "size": "extreme_size", "aspect": "extreme_aspect", "blurred": "blurred",
}
# Unknown to the network, but not planted as OOD.
STRANGE = {"black", "white", "one_tone", "blurred", "aspect", "grey"}
LABEL_RECALL = 0.6
# Least precision and recall of the kinds that are not looked at one by one.
LEAST = [
    ("black", 0.95, 1.0), ("white", 0.9, 1.0), ("one_tone", 0.9, 1.0), ("unseen_label", 1.0, 1.0), ("format", 1.0, 1.0),
    ("size", 1.0, 1.0), ("aspect", 1.0, 1.0), ("blurred", 0.7, 0.9), ("grey", 0.95, 1.0), ("leaked", 1.0, 1.0),
    ("leaked_near", 0.9, 0.9),
]


def ratio(part, whole):
    return part / whole if whole else None


class Groups:
    """Rows connected by pairs (union-find)."""

    def __init__(self, pairs):
        self.parent = {}
        for first, second in pairs:
            self.parent[self.of(first)] = self.of(second)

    def of(self, row):
        while self.parent.get(row, row) != row:
            row = self.parent[row]
        return row


def by_row(findings, kinds, planted, aside=frozenset()):
    """Findings of `kinds` against planted rows, each row once; `aside` counts neither as right nor as wrong."""
    rows = {finding["row"] for finding in findings if finding["kind"] in kinds} - aside
    right = len(rows & planted)
    return {
        "planted": len(planted), "findings": len(rows), "right": right,
        "precision": ratio(right, len(rows)), "recall": ratio(right, len(planted)),
    }


def unknown(findings, planted):
    aside = set().union(*(planted[kind] for kind in STRANGE))
    counts = by_row(findings, {"unknown"}, planted["ood"], aside)
    rows = {finding["row"] for finding in findings if finding["kind"] == "unknown"}
    false = counts["findings"] - counts["right"]
    return counts | {
        "set_aside": len(rows & aside), "broken": len(rows & planted["broken"]),
        "false_discovery_proportion": ratio(false, len(rows)) or 0.0, "all": len(rows),
    }


def pairs_of(findings, kind):
    """The pairs within the data that findings of a kind name, each once, with its rows in order."""
    named = {
        (min(finding["row"], finding["related_row"]), max(finding["row"], finding["related_row"]))
        for finding in findings
        if finding["kind"] == kind and finding["related_row"] is not None
    }
    return sorted(named)


def duplicates(pairs, planted, right, is_planted):
    """`right` and `is_planted` judge a pair of rows; `planted` are the pairs to find."""
    good = [pair for pair in pairs if is_planted(pair) or right(pair)]
    natural = [pair for pair in good if not is_planted(pair)]
    groups = Groups(good)
    found = sum(groups.of(first) == groups.of(second) for first, second in planted)
    return {
        "planted": len(planted), "findings": len(pairs), "right": len(good), "precision": ratio(len(good), len(pairs)),
        "recall": ratio(found, len(planted)), "natural": len(natural),
        "planted_only_precision": ratio(len(good) - len(natural), len(pairs)), "natural_pairs": natural,
        "wrong_pairs": [pair for pair in pairs if pair not in set(good)],
    }


def exact_duplicates(findings, planted_pairs, broken, images):
    planted_bytes = {images[first] for first, _ in planted_pairs}

    def right(pair):
        return images[pair[0]] == images[pair[1]] and not broken & set(pair)

    def is_planted(pair):
        return right(pair) and images[pair[0]] in planted_bytes

    return duplicates(pairs_of(findings, "exact_duplicate"), planted_pairs, right, is_planted)


def near_duplicates(findings, planted_pairs, broken, images, same):
    first_with = {}
    for row, data in enumerate(images):
        first_with.setdefault(data, row)

    def standing(pair):
        return tuple(sorted(first_with[images[row]] for row in pair))

    planted = [standing(pair) for pair in planted_pairs]
    pairs = sorted({standing(pair) for pair in pairs_of(findings, "near_duplicate")})

    def right(pair):
        return pair[0] != pair[1] and not broken & set(pair) and same(images[pair[0]], images[pair[1]])

    return duplicates(pairs, planted, right, set(planted).__contains__)


def grey(findings, planted, images, is_grey):
    """Natural ones are right as well."""
    rows = {finding["row"] for finding in findings if finding["kind"] == "grey"}
    natural = {row for row in rows - planted if is_grey(images[row])}
    right = len(rows & planted) + len(natural)
    return {
        "planted": len(planted), "findings": len(rows), "right": right, "natural": len(natural),
        "precision": ratio(right, len(rows)), "recall": ratio(len(rows & planted), len(planted)),
    }


def leaks(findings, kind, planted_pairs, images, reference, same):
    """Findings of rows that are in the reference; `planted_pairs` are rows and rows of the reference."""
    pairs = sorted({(finding["row"], finding["related_row"]) for finding in findings if finding["kind"] == kind})
    planted = set(planted_pairs)
    # A picture that is in the reference twice is found in one of both places.
    right = [pair for pair in pairs if pair in planted or same(images[pair[0]], reference[pair[1]])]
    found = {row for row, _ in right} & {row for row, _ in planted}
    return {
        "planted": len(planted), "findings": len(pairs), "right": len(right),
        "natural": len(set(right) - planted),
        "precision": ratio(len(right), len(pairs)), "recall": ratio(len(found), len(planted)),
    }


def labels(findings, planted):
    ranked = [(-finding["score"], finding["row"]) for finding in findings if finding["kind"] == "label_issue"]
    rows = [row for _, row in sorted(ranked)]
    aside = planted["ood"] | planted["black"] | planted["white"] | planted["one_tone"]
    kept = [row for row in rows if row not in aside]
    result = by_row(findings, {"label_issue"}, planted["label"], aside)
    result |= {"set_aside": len(rows) - len(kept), "strict_precision": ratio(result["right"], len(rows))}
    result["top"] = {str(k): ratio(len(planted["label"] & set(kept[:k])), k) for k in (50, 100, 200, 300) if k <= len(kept)}
    for name, ranking in (("precision_at_recall", kept), ("strict_precision_at_recall", rows)):
        wanted, right = math.ceil(LABEL_RECALL * len(planted["label"])), 0
        result[name] = None
        for length, row in enumerate(ranking, 1):
            right += row in planted["label"]
            if right == wanted:
                result[name] = right / length
                break
    return result


def judge(findings, truth, images, same, is_grey=None, reference=None):
    """Counts for each kind, of rows of findings and truth, the encoded image of each row, what judges two images the same and one
    grey, and the encoded images of the reference."""
    planted = collections.defaultdict(set)
    pairs = collections.defaultdict(list)
    for row in truth:
        planted[row["kind"]].add(row["row"])
        if row["related_row"] is not None:
            pairs[row["kind"]].append((row["row"], row["related_row"]))
    counts = {
        "broken": by_row(findings, BROKEN, planted["broken"]),
        "exact_duplicate": exact_duplicates(findings, pairs["exact_duplicate"], planted["broken"], images),
        "near_duplicate": near_duplicates(findings, pairs["near_duplicate"], planted["broken"], images, same),
        "unknown": unknown(findings, planted),
        "label": labels(findings, planted),
    }
    for name, kind in SINGLE.items():
        if planted[name]:
            # What is enlarged has no sharp edges.
            aside = planted["size"] | planted["aspect"] if name == "blurred" else frozenset()
            counts[name] = by_row(findings, {kind}, planted[name], aside)
    if planted["grey"]:
        counts["grey"] = grey(findings, planted["grey"], images, is_grey)
    if planted["leaked"]:
        counts["leaked"] = leaks(findings, "leaked", pairs["leaked"], images, reference, operator.eq)
    if planted["leaked_near"]:
        counts["leaked_near"] = leaks(findings, "leaked_near", pairs["leaked_near"], images, reference, same)
    return counts


def floors(kinds, fdr, rows_per_calibration_row=0.0):
    """(what, value, bound, whether it holds). A value that there is not, because nothing was found, holds no floor.

    False discoveries vary by chance, and so do the calibration rows that are as strange, which they are counted by."""
    ood = kinds["unknown"]
    error = math.sqrt(fdr * (1 - fdr) / ood["all"] * (1 + rows_per_calibration_row)) if ood["all"] else 0.0
    least = [
        ("broken: precision", kinds["broken"]["precision"], 1.0),
        ("broken: recall", kinds["broken"]["recall"], 1.0),
        ("exact duplicates: precision", kinds["exact_duplicate"]["precision"], 1.0),
        ("exact duplicates: recall", kinds["exact_duplicate"]["recall"], 1.0),
        ("near duplicates: precision", kinds["near_duplicate"]["precision"], 0.95),
        ("near duplicates: recall", kinds["near_duplicate"]["recall"], 0.90),
        (f"labels: precision at recall {LABEL_RECALL}", kinds["label"]["precision_at_recall"], 0.6),
    ]
    for name, precision, recall in LEAST:
        if name in kinds:
            least.append((f"{name}: precision", kinds[name]["precision"], precision))
            least.append((f"{name}: recall", kinds[name]["recall"], recall))
    most = [
        ("unknown: false discovery proportion", ood["false_discovery_proportion"], fdr + 2 * error),
        ("unknown: broken rows", ood["broken"], 0),
    ]
    held = [(what, value, f">= {bound:g}", value is not None and value >= bound) for what, value, bound in least]
    return held + [(what, value, f"<= {bound:.3g}", value <= bound) for what, value, bound in most]


def number(value):
    return "n/a" if value is None else f"{value:.3f}"


def table(kinds):
    lines = ["| kind | planted | findings | right | precision | recall | |", "| --- | ---: | ---: | ---: | ---: | ---: | --- |"]
    ood, label = kinds["unknown"], kinds["label"]
    notes = {
        "unknown": f"false discovery proportion {ood['false_discovery_proportion']:.3f}; {ood['broken']} broken; "
        f"{ood['set_aside']} set aside",
        "label": f"strict {number(label['strict_precision'])}; at recall {LABEL_RECALL} {number(label['precision_at_recall'])}, "
        f"strict {number(label['strict_precision_at_recall'])}; {label['set_aside']} set aside; "
        + ", ".join(f"top {k} {number(value)}" for k, value in label["top"].items()),
    }
    for kind in ("exact_duplicate", "near_duplicate"):
        notes[kind] = f"{kinds[kind]['natural']} natural; planted only {number(kinds[kind]['planted_only_precision'])}"
    for kind in {"grey", "leaked", "leaked_near"} & set(kinds):
        notes[kind] = f"{kinds[kind]['natural']} natural"
    for kind, counts in kinds.items():
        shares = [number(counts["precision"]), number(counts["recall"])]
        cells = [kind, counts["planted"], counts["findings"], counts["right"], *shares, notes.get(kind, "")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    for kind in ("exact_duplicate", "near_duplicate"):
        for name in ("natural_pairs", "wrong_pairs"):
            if kinds[kind][name]:
                named = ", ".join(f"{first}-{second}" for first, second in kinds[kind][name])
                lines.append(f"\n{kind}, {name.replace('_', ' ')}: {named}")
    return "\n".join(lines)


def read_images(path):
    schema = pyarrow.parquet.read_schema(path)
    structs = [field for field in schema if pyarrow.types.is_struct(field.type)]
    columns = [field.name for field in structs if field.type.get_field_index("bytes") >= 0]
    if len(columns) != 1:
        sys.exit(f"{path}: one column of images as a struct with bytes is needed, found {columns}")
    return [image["bytes"] for image in pyarrow.parquet.read_table(path, columns=columns)[columns[0]].to_pylist()]


def read_findings(path, fdr):
    """The findings; of unknown images those at the rate asked for, without those listed for review."""
    columns = ["file", "row", "kind", "score", "q_value", "related_file", "related_row"]
    rows = pyarrow.parquet.read_table(path, columns=columns).to_pylist()
    rows = [row for row in rows if row["kind"] != "unknown" or row["q_value"] is None or row["q_value"] <= fdr]
    strange = {row["file"] for row in rows if pathlib.PurePath(row["file"]).name != "planted.parquet"}
    if strange:
        sys.exit(f"{path}: findings of other files than planted.parquet: {sorted(strange)[:3]}")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("audit", type=pathlib.Path)
    parser.add_argument("--fdr", type=float, default=0.05, help="the rate that the audit was asked for")
    parser.add_argument("--reference", type=pathlib.Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--floors", action="store_true")
    arguments = parser.parse_args()

    import likeness  # here, so that the rules can be tested without numpy and Pillow

    truth = pyarrow.parquet.read_table(arguments.folder / "truth.parquet").to_pylist()
    images = read_images(arguments.folder / "planted.parquet")
    findings = read_findings(arguments.audit / "findings.parquet", arguments.fdr)
    reference = read_images(arguments.reference) if arguments.reference else None
    kinds = judge(findings, truth, images, likeness.same, likeness.is_grey, reference)
    summary = json.loads((arguments.audit / "summary.json").read_text())
    held = floors(kinds, arguments.fdr, summary["unknown"]["tested"] / summary["estimated_accuracy"]["calibration_rows"])
    if arguments.json:
        named = [dict(zip(("what", "value", "bound", "holds"), floor)) for floor in held]
        print(json.dumps({"kinds": kinds, "floors": named}, indent=2))
    else:
        print(table(kinds))
        print()
        for what, value, bound, holds in held:
            print(f"{'ok    ' if holds else 'MISSED'} {what} {number(value)} {bound}")
    if arguments.floors and not all(holds for *_, holds in held):
        sys.exit(1)


if __name__ == "__main__":
    main()
