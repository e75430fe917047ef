#!/usr/bin/env python3
"""Wall time and peak memory of an audit as the dataset grows: the same rows once and ten times.

    growth.py DATA.parquet --model MODEL --dismax BINARY [--image COLUMN] [--times 1 10] [--rounds 3] [--concat] [--json]
              [--floors] [-- FLAG...]

The repeated dataset is a folder of copies of DATA.parquet, with --concat one file with its row groups written again and again.
What follows `--` goes to `dismax audit`. Sizes run in turn, `--rounds` times; what is said is the median. Every copy of a row is
an exact duplicate, so this measures the pass and what is kept for a row, not the search for near duplicates among new images.

`--floors` ends with status 1 where, for the last size against the first, peak memory is over 1.1 times or time over 1.1 times
the ratio of the rows (11 for ten times the rows).
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

MOST = 1.1


def apart(function, *arguments):
    """Calls a function in a process of its own: the peak memory of a command begins with that of the process that starts it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def rows_of(data):
    import pyarrow.parquet

    return pyarrow.parquet.read_metadata(data).num_rows


def repeated(data, times, folder, concat):
    """A folder of copies, or one file, with the rows of `data` so many times."""
    import pyarrow.parquet

    if not concat:
        target = folder / f"times{times}"
        target.mkdir()
        for copy in range(times):
            shutil.copy(data, target / f"{copy:03}.parquet")
        return target
    target = folder / f"times{times}.parquet"
    source = pyarrow.parquet.ParquetFile(data)
    with pyarrow.parquet.ParquetWriter(target, source.schema_arrow) as writer:
        for _ in range(times):
            for group in range(source.num_row_groups):
                writer.write_table(source.read_row_group(group))
    return target


def run(command):
    """Wall seconds and peak memory in MiB of a command that must succeed."""
    with tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=err, text=True)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            err.seek(0)
            sys.exit(f"status {process.returncode}: {' '.join(map(str, command))}\n{err.read()[-3000:]}")
        return seconds, usage.ru_maxrss / 1024


def measure(arguments, folder):
    rows = apart(rows_of, arguments.data)
    data = {times: apart(repeated, arguments.data, times, folder, arguments.concat) for times in arguments.times}
    runs = {times: [] for times in arguments.times}
    image = ["--image", arguments.image] if arguments.image else []
    for _ in range(arguments.rounds):
        for times in arguments.times:
            out = folder / "audit"
            flags = ["--model", arguments.model, "--out", out, *image, *arguments.flags]
            runs[times].append(run([arguments.dismax, "audit", data[times], *flags]))
            if not (out / "findings.parquet").is_file():
                sys.exit(f"the audit of {data[times]} wrote no findings.parquet")
            shutil.rmtree(out)
    results = []
    for times, measured in runs.items():
        seconds, memory = (statistics.median(values) for values in zip(*measured))
        first = results[0] if results else {"seconds": seconds, "peak_mib": memory}
        ratios = {"time_ratio": seconds / first["seconds"], "memory_ratio": memory / first["peak_mib"]}
        results.append({"rows": rows * times, "seconds": seconds, "peak_mib": memory} | ratios)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--dismax", type=pathlib.Path, required=True)
    parser.add_argument("--image")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concat", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--floors", action="store_true")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments = parser.parse_args(sys.argv[1:end])
    arguments.flags = sys.argv[end + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        results = measure(arguments, pathlib.Path(folder))

    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        print("| rows | seconds | rows/s | peak MiB | time ratio | memory ratio |\n| ---: | ---: | ---: | ---: | ---: | ---: |")
        for result in results:
            numbers = f"{result['rows'] / result['seconds']:,.0f} | {result['peak_mib']:,.0f}"
            ratios = f"{result['time_ratio']:.2f} | {result['memory_ratio']:.2f}"
            print(f"| {result['rows']:,} | {result['seconds']:.2f} | {numbers} | {ratios} |")
    last = results[-1]
    held = last["memory_ratio"] <= MOST and last["time_ratio"] <= MOST * last["rows"] / results[0]["rows"]
    if arguments.floors and not held:
        sys.exit(1)


if __name__ == "__main__":
    main()
