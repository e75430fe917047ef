#!/usr/bin/env python3
"""Kills or fails every call with which score, calibrate and audit put their results on disk.

    scripts/fault_test.py DISMAX

`DISMAX` is the command's program; strace injects the faults. The model is the one that `make demo` trains. After each fault the result must be the old one or the new
one, whole. The next run must succeed and leave no temporary file.
"""

import hashlib
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "demo-output/model"
IMAGES = ROOT / "examples/data/digits/validation.parquet"
CALLS = ["fsync", "rename", "renameat", "renameat2", "link", "linkat"]
# What is injected: the process dies at the call, the call fails, or it fails as where a file system cannot do it.
FAULTS = {"kill": "signal=KILL", "EIO": "error=EIO", "EINVAL": "error=EINVAL"}
# Where names cannot be exchanged, folders are renamed twice. Every fault is tried there too.
WITHOUT_EXCHANGE = "inject=renameat2:error=EINVAL"


def command(program, what, place):
    """The command that replaces `place/result`."""
    result = str(place / "result.parquet" if what == "score" else place / "result")
    return {
        "score": [program, "--quiet", "score", str(IMAGES), "--model", str(MODEL), "--out", result, "--force"],
        "calibrate": [program, "--quiet", "calibrate", result, "--data", str(IMAGES), "--alpha", "0.1"],
        "audit": [program, "--quiet", "audit", str(IMAGES), "--model", str(MODEL), "--out", result, "--force"],
    }[what], Path(result)


def digest(result):
    """One digest over the names and bytes of a file or folder, None where there is nothing."""
    if not result.exists():
        return None
    files = [result] if result.is_file() else sorted(path for path in result.rglob("*") if path.is_file())
    whole = hashlib.sha256()
    for file in files:
        # An audit's report and summary name the moment at which they were written; that they are there must do.
        contents = b"" if file.name in ("report.html", "summary.json") else file.read_bytes()
        whole.update(file.name.encode() + b"\0" + hashlib.sha256(contents).digest())
    return whole.hexdigest()


def prepare(what, place):
    """An old result that the command replaces and that differs from the new one."""
    if what == "score":
        (place / "result.parquet").write_bytes(b"old")
    else:
        shutil.copytree(MODEL if what == "calibrate" else place.parent / "old-audit", place / "result")


def strace(arguments, injections, trace):
    options = ["strace", "--follow-forks", "--quiet=all", f"--trace={','.join(CALLS)}", f"--output={trace}"]
    options += [f"--inject={injection.removeprefix('inject=')}" for injection in injections]
    return subprocess.run([*options, *arguments], capture_output=True, text=True, check=False)


def count(trace):
    """How often each call was made."""
    calls = re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE)
    return {name: calls.count(name) for name in CALLS if name in calls}


def one_fault(program, what, injections, folder, new):
    """Runs one command with faults, and again without. Returns what is wrong."""
    place = folder / "place"
    place.mkdir()
    prepare(what, place)
    arguments, result = command(program, what, place)
    old = digest(result)
    faulty = strace(arguments, injections, folder / "trace")
    after = digest(result)
    problems = []
    if after is None:
        # Between two renames, where names cannot be exchanged: the next run puts the old folder back.
        if WITHOUT_EXCHANGE not in injections:
            problems.append("nothing has the result's name")
    elif after not in (old, new):
        problems.append("neither the old nor the new result")
    if faulty.returncode == 0 and after != new:
        problems.append("reported success without the new result")
    again = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if again.returncode != 0 or digest(result) is None:
        problems.append(f"the next run fails: {again.stderr.strip()}")
    left = sorted(path.name for path in place.iterdir() if path != result)
    if left:
        problems.append(f"left: {', '.join(left)}")
    shutil.rmtree(place)
    return problems


def sweep(program, what, base, folder):
    """Tries every fault at every call of one command. Returns how many, and what is wrong."""
    place = folder / "place"
    place.mkdir()
    prepare(what, place)
    arguments, result = command(program, what, place)
    done = strace(arguments, base, folder / "trace")
    if done.returncode != 0:
        sys.exit(f"{what} fails without a fault: {done.stderr}")
    new = digest(result)
    shutil.rmtree(place)

    runs, problems = 0, []
    for call, times in count(folder / "trace").items():
        if base and call == "renameat2":
            continue
        for when, (fault, injection) in itertools.product(range(1, times + 1), FAULTS.items()):
            found = one_fault(program, what, [*base, f"inject={call}:{injection}:when={when}"], folder, new)
            where = f"{what}{' without exchange' if base else ''}: {fault} at {call} {when} of {times}"
            problems += [f"{where}: {problem}" for problem in found]
            runs += 1
    return runs, problems


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = str(Path(sys.argv[1]).resolve())
    runs, problems = 0, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # An old audit that differs from the new one.
        arguments, result = command(program, "audit", folder)
        subprocess.run(arguments, check=True, capture_output=True)
        (result / "findings.parquet").write_bytes(b"old")
        result.rename(folder / "old-audit")
        folders = itertools.product(["calibrate", "audit"], [[], [WITHOUT_EXCHANGE]])
        for what, base in [("score", []), *folders]:
            tried, found = sweep(program, what, base, folder)
            runs += tried
            problems += found
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{runs} faults, {len(problems)} problems")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
