#!/usr/bin/env python3
"""Print what `scripts/demo.sh` found: a table from evaluation.json and score.json of its output folder."""

import json
import sys
from pathlib import Path


def rows(evaluation, scoring):
    """(what, value) for every line of the table."""
    test = evaluation["in_dist"]
    (unseen,) = evaluation["ood"]
    detection = unseen["scores"][evaluation["score"]]
    best = max(unseen["scores"], key=lambda score: unseen["scores"][score]["auroc"])
    errors = scoring["errors"]
    by_code = ", ".join("{} {}".format(count, code) for code, count in sorted(errors.items()))
    return [
        ("accuracy on the test digits", "{:.1%}".format(test["accuracy"]["value"])),
        ("ECE before calibration", "{:.4f}".format(test["before"]["ece"])),
        ("ECE after calibration", "{:.4f}".format(test["after"]["ece"])),
        ("AUROC, digits 8 and 9 unseen", "{:.4f} by {}, the default score".format(detection["auroc"], evaluation["score"])),
        ("  by the best score here", "{:.4f} by {}".format(unseen["scores"][best]["auroc"], best)),
        ("FPR95, digits 8 and 9 unseen", "{:.1%}".format(detection["fpr95"])),
        ("flagged in the mixed file", "{:.1%} of {:,} scored rows".format(scoring["flagged_share"], scoring["scored"])),
        ("rows with errors", "{} ({})".format(sum(errors.values()), by_code)),
        ("scoring speed", "{:,.0f} images/s".format(scoring["images_per_second"])),
    ]


def main():
    out = Path(sys.argv[1])
    evaluation, scoring = (json.loads((out / name).read_text()) for name in ("evaluation.json", "score.json"))
    table = rows(evaluation, scoring)
    width = max(len(what) for what, _ in table)
    for what, value in table:
        print("{:<{}}  {}".format(what, width, value))
    print()
    print("Everything is in {}:".format(out))
    for name, what in (
        ("model", "the model bundle; start with its README.md"),
        ("scored.parquet", "the mixed file with the new columns"),
        ("failed-rows.parquet", "the rows with errors"),
        ("evaluation.json", "all figures"),
    ):
        print("{:<{}}  {}".format(name, width, what))


if __name__ == "__main__":
    main()
