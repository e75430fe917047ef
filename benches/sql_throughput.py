#!/usr/bin/env python3
"""How fast `dismax sql` scores beside `dismax score`, and whether its memory grows with the rows.

    benches/sql_throughput.py MODEL IMAGES.parquet [--image img] [--rounds 5] [--copies 10] [--dismax PATH]

Both commands run in turn, from process start to exit, on the same file. The ratio is the median of those of the rounds; that of
processor time says the same on a machine that does other things beside. The query filters by a score, so both decode and score
every image. Then the query runs over so many copies of the file, and its peak memory is compared.
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
    """Seconds, seconds of processor time and peak memory in MiB of a command that must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{message}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


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
        processor = {name: [] for name in commands}
        memory = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                taken, busy, peak = run(command)
                seconds[name].append(taken)
                processor[name].append(busy)
                memory[name].append(peak)
        for name in commands:
            median = statistics.median(seconds[name])
            busy = statistics.median(processor[name])
            print(f"{name:6} {count / median:8.0f} images/s {median:6.2f} s {busy:6.2f} s of processors {max(memory[name]):5.0f} MiB")
        for what, values in {"sql / score": seconds, "by processor time": processor}.items():
            ratios = [score / sql for score, sql in zip(values["score"], values["sql"])]
            print(f"{what}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")

        copies = folder / "copies"
        copies.mkdir()
        for copy in range(arguments.copies):
            os.symlink(os.path.abspath(arguments.images), copies / f"{copy}.parquet")
        _, _, once = run(commands["sql"])
        taken, _, many = run([*sql, query.format(copies / "*.parquet")])
        rate = count * arguments.copies / taken
        print(f"{arguments.copies} times the rows: {rate:.0f} images/s, {many:.0f} MiB instead of {once:.0f} MiB ({many / once:.2f})")


if __name__ == "__main__":
    main()
