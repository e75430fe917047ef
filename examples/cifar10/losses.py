#!/usr/bin/env python3
"""Train one network with every loss, and print a table of what each is worth.

    examples/cifar10/losses.py TRAIN.parquet TEST.parquet OOD.parquet... --out FOLDER

The network is ResNet-20 with its recipe (resnet20.toml), but for --epochs. Trainings that are there already are not repeated, and an
interrupted one goes on. DISMAX is the command to run (default: `dismax` from PATH).
"""

import argparse
import json
import os
import shlex
import subprocess
from pathlib import Path

LOSSES = ["softmax", "isomax", "isomax-plus", "dismax", "dismax-dagger", "logitnorm", "t2fnorm", "elogitnorm"]
# The score of DisMax, the maximum probability that others are usually judged by, and the best one on these data.
SCORES = ["mmles", "mps", "mds+early"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("ood", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()

    program = shlex.split(os.environ.get("DISMAX", "dismax"))
    recipe = Path(__file__).with_name("resnet20.toml")
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = [path.stem for path in arguments.ood]
    columns = ["loss", "accuracy", "NLL", "ECE"] + [f"{score}, {name}" for name in names for score in SCORES]
    print("| " + " | ".join(columns) + " |\n| --- |" + " ---: |" * (len(columns) - 1), flush=True)
    for loss in LOSSES:
        model = arguments.out / loss
        if not model.exists():
            words = ["--recipe", recipe, "--loss", loss, "--epochs", arguments.epochs, "--device", "cpu", "--resume"]
            subprocess.run([*program, "train", arguments.train, "--out", model, *map(str, words)], check=True)
        words = ["--model", model, "--id", arguments.test, "--ood", *arguments.ood, "--json"]
        done = subprocess.run([*program, "--quiet", "evaluate", *words], check=True, stdout=subprocess.PIPE)
        report = json.loads(done.stdout)
        after = report["in_dist"]["after"]
        values = [f"{100 * after['accuracy']:.1f} %", f"{after['nll']:.3f}", f"{after['ece']:.4f}"]
        for ood in report["ood"]:
            values += [f"{ood['scores'][score]['auroc']:.3f}" for score in SCORES]
        print("| " + " | ".join([loss, *values]) + " |", flush=True)


if __name__ == "__main__":
    main()
