#!/usr/bin/env python3
"""Kills runs that score into a folder of parts, fills their disk, and checks what is there.

    scripts/parts_test.py DISMAX [--kills N] [--seed N]

`DISMAX` is the command's program. A folder of 60 small files is scored once without disturbance. Then a run into another folder is killed with SIGKILL at N random moments (100
unless it is said otherwise), each time started again, until it is done, and again from the beginning until all kills are used. At every moment each part must be whole and
equal to the undisturbed one; at the end all of them must be there, and nothing else.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models/cifar10-resnet20"
SOURCE = ROOT / "examples/data/digits/train.parquet"
FILES, ROWS = 60, 300


def command(program, inputs, out):
    return [program, "--quiet", "score", inputs, "--model", MODEL, "--out", f"{out}/"]


def make_inputs(program, folder):
    folder.mkdir()
    union = " UNION ALL ".join([f"SELECT image FROM '{SOURCE}'"] * 20)
    for number in range(FILES):
        query = f"COPY (SELECT image, {number} AS file FROM ({union}) LIMIT {ROWS}) TO '{folder / f'{number:02}.parquet'}'"
        subprocess.run([program, "--quiet", "sql", query], check=True, stdout=subprocess.DEVNULL)


def parts(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")} if folder.exists() else {}


def check(out, whole, complete):
    """What is wrong with the parts that are there."""
    found = parts(out)
    wrong = [f"{name} differs from the undisturbed part" for name, contents in found.items() if whole.get(name) != contents]
    if complete:
        names = {path.name for path in out.iterdir()}
        wrong += [f"{name} is missing" for name in whole if name not in found]
        wrong += [f"{name} was left behind" for name in names - set(whole) - {"_dismax.json"}]
    return wrong


def kills(program, inputs, place, whole, seconds, count):
    problems, done = [], 0
    while done < count:
        out = place / "killed"
        shutil.rmtree(out, ignore_errors=True)
        while True:
            process = subprocess.Popen(command(program, inputs, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            kill = done < count
            if kill:
                # Most runs get somewhere before they are killed, few to their end.
                time.sleep(random.uniform(0, 0.4 * seconds))
                process.send_signal(signal.SIGKILL)
                done += 1
            _, error = process.communicate()
            if process.returncode not in (0, -signal.SIGKILL):
                problems.append(f"exit code {process.returncode}: {error.decode()}")
                return problems
            complete = process.returncode == 0
            problems += check(out, whole, complete)
            if problems or complete:
                break
        if problems:
            return problems
    return problems


def full_disk(program, inputs, place, whole):
    """A run onto a disk that is too small fails; with room it goes on to the same bytes."""
    disk = place / "disk"
    disk.mkdir()
    needed = sum(map(len, whole.values()))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={needed // 2}", "tmpfs", disk], capture_output=True, check=False).returncode:
        print("        (no right to mount a small disk: left out)")
        return []
    try:
        run = subprocess.run(command(program, inputs, disk / "out"), capture_output=True, text=True, check=False)
        problems = [] if run.returncode == 3 and "space" in run.stderr else [f"exit code {run.returncode}: {run.stderr}"]
        problems += check(disk / "out", whole, complete=False)
        subprocess.run(["mount", "-o", f"remount,size={needed * 4}", disk], check=True)
        subprocess.run(command(program, inputs, disk / "out"), check=True)
        return problems + check(disk / "out", whole, complete=True)
    finally:
        subprocess.run(["umount", disk], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dismax", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    program = arguments.dismax.resolve()
    with tempfile.TemporaryDirectory(prefix="dismax-parts-") as name:
        place = Path(name)
        inputs = place / "inputs"
        make_inputs(program, inputs)
        begun = time.monotonic()
        subprocess.run(command(program, inputs, place / "whole"), check=True)
        seconds = time.monotonic() - begun
        whole = parts(place / "whole")
        print(f"{len(whole)} parts in {seconds:.1f} s without disturbance", flush=True)
        problems = kills(program, inputs, place, whole, seconds, arguments.kills)
        print(f"{'FAILED' if problems else 'ok':7} {arguments.kills} kills", flush=True)
        full = full_disk(program, inputs, place, whole)
        print(f"{'FAILED' if full else 'ok':7} a full disk", flush=True)
    for problem in problems + full:
        print(problem)
    sys.exit(1 if problems or full else 0)


if __name__ == "__main__":
    main()
