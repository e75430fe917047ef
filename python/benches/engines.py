#!/usr/bin/env python3
"""Compares the jobs of examples/python on Spark, Ray and Daft with `dismax score` on the same rows: images per second.

    python/benches/engines.py --data cifar10-train.parquet --image img [--rounds 3] [--command PROGRAM]

Every job is a whole process with two workers of one core each, from start to exit, in turn, with a warm file cache; the
command has two threads. The same on the first thousand rows shows what starting costs. Run it with the Python that has
the package, pyspark, ray and daft. `--command` is a `dismax` program; without it the one of the package is taken.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT / "examples/python"
FEW_ROWS = 1_000


def main():
    usage = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usage.add_argument("--data", required=True, type=Path, help="a Parquet file of images in many row groups")
    usage.add_argument("--image", default="image", help="its image column")
    usage.add_argument("--model", default=ROOT / "models/cifar10-resnet20")
    usage.add_argument("--rounds", type=int, default=3)
    usage.add_argument("--command", help="a dismax program")
    args = usage.parse_args()
    python = sys.executable
    command = [args.command] if args.command else [python, "-c", "from dismax._command import main; main()"]
    ways = {
        "`dismax score`": lambda data, out: [
            *command, "--quiet", "score", data, "--model", args.model, "--workers", "2", "--out", f"{out}.parquet",
        ],
        "Daft": lambda data, out: [python, JOBS / "daft_job.py", data, args.model, out, args.image],
        "Daft on Ray": lambda data, out: [
            "env", "DAFT_RUNNER=ray", python, JOBS / "daft_job.py", data, args.model, out, args.image,
        ],
        "Ray": lambda data, out: [python, JOBS / "ray_job.py", data, args.model, out],
        "Spark": lambda data, out: [
            "spark-submit", "--master", "local-cluster[2,1,1024]", JOBS / "spark_job.py", data, args.model, out,
        ],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        table = pq.read_table(args.data)
        few = Path(folder) / "few.parquet"
        pq.write_table(table.slice(0, FEW_ROWS), few)
        seconds = {(way, data): [] for way in ways for data in (few, args.data)}
        for number in range(args.rounds):
            for (way, data), times in seconds.items():
                times.append(run(ways[way](data, Path(folder) / "out"), Path(folder)))
                print(f"round {number + 1}, {way}, {data.name}: {times[-1]:.1f} s", file=sys.stderr)

    print(f"{table.num_rows:,} rows, {os.cpu_count()} cores, {args.rounds} rounds in turn\n")
    print("| | images/s | of `dismax score` | with the start left out | of `dismax score` | start and end |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    base = None
    for way in ways:
        long, short = median(seconds[way, args.data]), median(seconds[way, few])
        # What a job does in the time that its further rows take.
        rate = (table.num_rows - FEW_ROWS) / (long - short)
        figures = [table.num_rows / long, rate, short - FEW_ROWS / rate]
        base = base or figures
        whole, onward = figures[0] / base[0], figures[1] / base[1]
        print(f"| {way} | {figures[0]:,.0f} | {whole:.2f} | {rate:,.0f} | {onward:.2f} | {figures[2]:.1f} s |")


def run(words, folder):
    """Seconds of a process."""
    programs = Path(sys.executable).parent
    settings = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    start = time.monotonic()
    done = subprocess.run(list(map(str, words)), env=os.environ | settings, cwd=folder, capture_output=True, text=True)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        sys.exit(f"failed: {words}\n{done.stdout}{done.stderr}")
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "out.parquet").unlink(missing_ok=True)
    return seconds


if __name__ == "__main__":
    main()
