#!/usr/bin/env python3
"""Wall time and peak memory of an audit as the dataset grows: the same rows again and again, or ever more different images.

    growth.py DATA.parquet --dismax BINARY [--model MODEL] [--image COLUMN] [--times 1 10 | --different 10000 100000]
              [--rounds 3] [--concat] [--json] [--floors] [-- FLAG...]

Without a model the audit looks at images alone. The repeated dataset is a folder of copies of DATA.parquet, with --concat one
file with its row groups written again and again. Every copy of a row is an exact duplicate, so this measures the pass and what is
kept for a row. With --different each image is a blend of two pictures of DATA.parquet, every pair once, as JPEG: so many
different images that look natural, which also measures the search for near duplicates.

What follows `--` goes to `dismax audit`. Sizes run in turn, `--rounds` times; what is said is the median.

`--floors` ends with status 1 where, for the last size against the first, time is over 1.1 times the ratio of the rows (11 for
ten times the rows) or, for repeated rows, peak memory over 1.1 times.
"""

import argparse
import io
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
FILE_ROWS = 100_000
GROUP_ROWS = 1_000


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


def different(data, rows, image, folder):
    """A folder with so many rows, each a blend of two pictures of `data` that no other row blends."""
    import numpy
    import pyarrow
    import pyarrow.parquet
    from PIL import Image

    table = pyarrow.parquet.read_table(data, columns=[image] if image else None)
    column = image or next(field.name for field in table.schema if pyarrow.types.is_struct(field.type))
    pictures = [Image.open(io.BytesIO(value["bytes"])).convert("RGB") for value in table[column].to_pylist()]
    pictures = numpy.stack([numpy.asarray(picture.resize(pictures[0].size), dtype="uint16") for picture in pictures])
    count = len(pictures)
    if rows > count * (count - 1) // 2:
        sys.exit(f"{count} pictures have fewer than {rows} pairs")
    target = folder / f"different{rows}"
    target.mkdir()
    schema = pyarrow.schema([("image", "binary")])
    for start in range(0, rows, FILE_ROWS):
        with pyarrow.parquet.ParquetWriter(target / f"{start // FILE_ROWS:04}.parquet", schema, compression="none") as writer:
            for group in range(start, min(start + FILE_ROWS, rows), GROUP_ROWS):
                images = []
                for row in range(group, min(group + GROUP_ROWS, rows)):
                    # Pairs a step apart: all with the step 1, then all with the step 2, and so on.
                    first, step = row % count, row // count + 1
                    blend = (pictures[first] + pictures[(first + step) % count]) // 2
                    out = io.BytesIO()
                    Image.fromarray(blend.astype("uint8")).save(out, "JPEG", quality=90)
                    images.append(out.getvalue())
                writer.write_table(pyarrow.table({"image": images}, schema=schema))
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


def datasets(arguments, folder):
    """Rows and place of each dataset."""
    if arguments.different:
        return [(rows, apart(different, arguments.data, rows, arguments.image, folder)) for rows in arguments.different]
    rows = apart(rows_of, arguments.data)
    return [(rows * times, apart(repeated, arguments.data, times, folder, arguments.concat)) for times in arguments.times]


def measure(arguments, folder):
    data = datasets(arguments, folder)
    runs = {rows: [] for rows, _ in data}
    flags = ["--model", arguments.model] if arguments.model else []
    if arguments.image and not arguments.different:
        flags += ["--image", arguments.image]
    for _ in range(arguments.rounds):
        for rows, place in data:
            out = folder / "audit"
            runs[rows].append(run([arguments.dismax, "audit", place, "--out", out, *flags, *arguments.flags]))
            if not (out / "findings.parquet").is_file():
                sys.exit(f"the audit of {place} wrote no findings.parquet")
            shutil.rmtree(out)
    results = []
    for rows, measured in runs.items():
        seconds, memory = (statistics.median(values) for values in zip(*measured))
        first = results[0] if results else {"seconds": seconds, "peak_mib": memory}
        ratios = {"time_ratio": seconds / first["seconds"], "memory_ratio": memory / first["peak_mib"]}
        results.append({"rows": rows, "seconds": seconds, "peak_mib": memory} | ratios)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--dismax", type=pathlib.Path, required=True)
    parser.add_argument("--image")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--different", type=int, nargs="+")
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
    held = last["time_ratio"] <= MOST * last["rows"] / results[0]["rows"]
    held &= bool(arguments.different) or last["memory_ratio"] <= MOST
    if arguments.floors and not held:
        sys.exit(1)


if __name__ == "__main__":
    main()
