#!/usr/bin/env python3
"""Images a second of an audit without a model beside cleanvision, on the same files and cores.

    cleanvision.py DATA.parquet [--image COLUMN] --dismax BINARY [--copies 1] [--rounds 3] [--json] [--floor 2]

The encoded images of DATA.parquet are written to a folder, with `--copies` so many times, each copy after the first with a
comment of its own so that no two files are equal. Both programs look at the folder in turn, `--rounds` times, each in a process
of its own that starts, decodes, looks for its problems and ends; what is said is the median. cleanvision looks for all that it
knows, with a process for each core, and so does `dismax audit`, which also writes its report and its table.

`--floor` ends with status 1 where the audit's rate is less than so many times cleanvision's.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

CLEANVISION = """
import sys
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1], verbose=False)
lab.find_issues(verbose=False)
print(len(lab.issues))
"""
ENDINGS = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"RI": ".webp", b"GI": ".gif", b"BM": ".bmp"}


def with_comment(data, text):
    """A JPEG file with a comment behind its first marker; another file as it is, with the text behind its end."""
    if data[:2] != b"\xff\xd8":
        return data + text
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + data[2:]


def write_images(data, column, copies, folder):
    """How many files were written."""
    import pyarrow.parquet
    import pyarrow.types

    table = pyarrow.parquet.read_table(data)
    column = column or next(field.name for field in table.schema if pyarrow.types.is_struct(field.type))
    count = 0
    for image in table[column].to_pylist():
        data = image["bytes"] if isinstance(image, dict) else image
        for copy in range(copies):
            data = with_comment(data, b"copy %d" % copy) if copy else data
            (folder / f"{count:07}{ENDINGS.get(data[:2], '.tif')}").write_bytes(data)
            count += 1
    return count


def run(command):
    """Wall seconds of a command that must succeed, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"status {done.returncode}: {' '.join(map(str, command))}\n{done.stderr[-3000:]}")
    return seconds, done.stdout


def measure(arguments, folder):
    images = folder / "images"
    images.mkdir()
    count, out = write_images(arguments.data, arguments.image, arguments.copies, images), folder / "audit"
    seconds = {"dismax": [], "cleanvision": []}
    for _ in range(arguments.rounds):
        took, printed = run([arguments.dismax, "audit", images, "--out", out, "--json"])
        summary = json.loads(printed)
        if summary["rows"] != count or summary["duplicates"]["images"] != count:
            sys.exit(f"the audit looked at {summary['duplicates']['images']} of {count} images")
        seconds["dismax"].append(took)
        shutil.rmtree(out)
        took, printed = run([sys.executable, "-c", CLEANVISION, images])
        if int(printed.split()[-1]) != count:
            sys.exit(f"cleanvision looked at {printed.strip()} of {count} images")
        seconds["cleanvision"].append(took)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rates = {name: count / value for name, value in medians.items()}
    return {"images": count, "seconds": medians, "rates": rates, "ratio": rates["dismax"] / rates["cleanvision"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--image", help="column of the images; the first struct unless given")
    parser.add_argument("--dismax", type=pathlib.Path, required=True)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--floor", type=float, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, pathlib.Path(folder))
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"{result['images']:,} files, {os.cpu_count()} cores\n\n| program | seconds | images/s |\n| --- | ---: | ---: |")
        for name, rate in result["rates"].items():
            print(f"| {name} | {result['seconds'][name]:.2f} | {rate:,.0f} |")
        print(f"\nratio {result['ratio']:.1f}")
    if result["ratio"] < arguments.floor:
        sys.exit(1)


if __name__ == "__main__":
    main()
