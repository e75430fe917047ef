#!/usr/bin/env python3
"""How fast `dismax sql` scores beside `dismax score`, and whether its memory grows with the rows.

    benches/sql_throughput.py MODEL IMAGES.parquet [--image img] [--rounds 5] [--copies 10] [--dismax PATH]

Both commands run in turn, from process start to exit, on the same file; ratios are of medians. The query filters by a score,
so both decode and score every image. Then the query runs over so many copies of the file, and its peak memory is compared.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time


def run(command):
    """Seconds and peak memory in MiB of a command that must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{message}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("images")
    parser.add_argument("--image", default="img", help="the image column")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--dismax", default="dismax")
    arguments = parser.parse_args()

    column = arguments.image
    rows = "SELECT count(*) AS rows FROM '{}'"
    query = f"SELECT dismax_prediction({column}), dismax_ood_score({column}) FROM '{{}}' WHERE NOT dismax_is_ood({column})"
    counted = subprocess.run(
        [arguments.dismax, "sql", "--format", "csv", rows.format(arguments.images)], capture_output=True, text=True, check=True
    )
    count = int(counted.stdout.split()[-1])

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        out = ["--out", str(folder / "out.parquet"), "--force"]
        sql = [arguments.dismax, "sql", "--model", arguments.model, *out]
        commands = {
            "score": [arguments.dismax, "score", arguments.images, "--model", arguments.model, "--image", column, *out],
            "sql": [*sql, query.format(arguments.images)],
        }
        seconds = {name: [] for name in commands}
        memory = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                taken, peak = run(command)
                seconds[name].append(taken)
                memory[name].append(peak)
        for name in commands:
            median = statistics.median(seconds[name])
            print(f"{name:6} {count / median:8.0f} images/s  {median:6.2f} s  {max(memory[name]):6.0f} MiB")
        ratio = statistics.median(seconds["score"]) / statistics.median(seconds["sql"])
        print(f"sql / score: {ratio:.3f}")

        copies = folder / "copies"
        copies.mkdir()
        for copy in range(arguments.copies):
            os.symlink(os.path.abspath(arguments.images), copies / f"{copy}.parquet")
        _, once = run(commands["sql"])
        taken, many = run([*sql, query.format(copies / "*.parquet")])
        rate = count * arguments.copies / taken
        print(f"{arguments.copies} times the rows: {rate:.0f} images/s, {many:.0f} MiB instead of {once:.0f} MiB ({many / once:.2f})")


if __name__ == "__main__":
    main()
