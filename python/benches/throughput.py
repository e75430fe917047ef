#!/usr/bin/env python3
"""Compares Python with the command on the same rows: images per second, and memory.

    python/benches/throughput.py --data cifar10-train.parquet [--rounds 5] [--memory] [--command PROGRAM]

Every figure is of whole processes, from start to exit, with a warm file cache, in turn; ratios are of medians. `--memory` scores
10,000 rows and then half a million, the file again and again, and compares the peaks. Run it with the Python that has the
package. `--command` is a `dismax` program; without it the one of the package is taken.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MEMORY_ROWS = [10_000, 500_000]


def main():
    usage = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usage.add_argument("--data", required=True, help="a Parquet file of images")
    usage.add_argument("--model", default=ROOT / "models/cifar10-resnet20")
    usage.add_argument("--rounds", type=int, default=5)
    usage.add_argument("--memory", action="store_true")
    usage.add_argument("--command", help="a dismax program")
    args = usage.parse_args()
    import dismax

    rows = dismax.read(args.data).count()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.parquet"
        start = f"import dismax; scored = dismax.Model({str(args.model)!r}).score({str(args.data)!r})"
        command = [args.command] if args.command else [sys.executable, "-c", "from dismax._command import main; main()"]
        ways = {
            "dismax score": [*command, "--quiet", "score", args.data, "--model", str(args.model), "--out", str(out)],
            "relation to Parquet": [sys.executable, "-c", f"{start}; scored.write({str(out)!r}, progress=False)"],
            "relation to polars": [sys.executable, "-c", f"import polars; {start}; polars.DataFrame(scored)"],
            "scores to polars": [
                sys.executable, "-c", f"import polars; {start}; polars.DataFrame(scored.select('prediction', 'confidence', 'is_ood'))",
            ],
        }  # fmt: skip
        seconds = {way: [] for way in ways}
        for _ in range(args.rounds + 1):
            for way, words in ways.items():
                seconds[way].append(run(words, out)[0])
        # The first round fills the file cache.
        medians = {way: statistics.median(times[1:]) for way, times in seconds.items()}
        print(f"{rows:,} rows, {os.cpu_count()} cores, {args.rounds} rounds in turn\n")
        print("| | images/s | of `dismax score` |\n| --- | ---: | ---: |")
        for way, median in medians.items():
            print(f"| {way} | {rows / median:,.0f} | {medians['dismax score'] / median:.3f} |")
        if args.memory:
            memory(args, out, rows)


def memory(args, out, rows):
    peaks = []
    for wanted in MEMORY_ROWS:
        files = [str(args.data)] * -(-wanted // rows)
        # A file may be named once; links have names of their own.
        links = []
        for number, file in enumerate(files):
            link = out.with_name(f"{number}.parquet")
            link.symlink_to(Path(file).resolve())
            links.append(str(link))
        program = f"import dismax; dismax.Model({str(args.model)!r}).score({links!r}).limit({wanted}).write({str(out)!r})"
        peaks.append(run([sys.executable, "-c", program], out)[1])
        [Path(link).unlink() for link in links]
    print("\n| rows | peak memory |\n| ---: | ---: |")
    for wanted, peak in zip(MEMORY_ROWS, peaks):
        print(f"| {wanted:,} | {peak / 1024:,.0f} MiB |")


def run(words, out):
    """Seconds and peak memory (KiB) of a process."""
    start = time.monotonic()
    process = subprocess.Popen(words)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    if status != 0:
        sys.exit(f"failed: {words}")
    out.unlink(missing_ok=True)
    return seconds, usage.ru_maxrss


if __name__ == "__main__":
    main()
