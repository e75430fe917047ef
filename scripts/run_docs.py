#!/usr/bin/env python3
"""Runs every command of README.md, CONTRIBUTING.md and docs/, and compares what it prints with what the page shows.

    scripts/run_docs.py [--dismax PROGRAM] [--page PAGE ...] [-- CARGO_FLAG ...]

A command is a line of a `console` block that begins with `$ `; lines that begin with `> ` continue it, and the other lines are its
output. `...` on a line of its own stands for any lines, within a line for any characters. Commands without output must only
succeed.

Every page runs in an empty folder of its own that has the clone's `examples`, `models`, `scripts`, `benches` and `tests` and the
output of `make demo`, so that the commands are the ones a reader types. A comment above a block changes what happens to it:

    <!-- numbers vary: WHY -->   words are compared, numbers are not
    <!-- not run: WHY -->        the block is left out; the summary lists it with its reason

Commands run without a network where the system lets a user take it away (`unshare`), because no page needs one.

So that no command escapes, shell blocks must be `console` blocks. Links to files and headings of the clone are checked too.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What a page's commands may name, apart from what they write themselves.
LINKED = ["benches", "examples", "models", "scripts", "tests", "README.md"]
# A command that waits for input or never ends fails instead of blocking the run.
TIMEOUT_SECONDS = 300

FENCE = re.compile(r"^\s*(```+)(.*)$")
MARK = re.compile(r"^<!-- (not run|numbers vary): (.+) -->$")
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# Beginnings of lines that look like a command outside a `console` block.
LOOKS_LIKE_COMMAND = re.compile(r"^(\s{4,}|\t)(\$ |dismax |cargo |make |git |pip |python3? |scripts/)")


class PageError(Exception):
    """A page is not written as the runner expects it."""


@dataclass
class Command:
    """One command of a page."""

    line: int
    text: str
    output: list[str] = field(default_factory=list)
    numbers_vary: bool = False


@dataclass
class Page:
    """The commands of a page, and the blocks that are left out as (line, reason)."""

    commands: list[Command] = field(default_factory=list)
    left_out: list[tuple[int, str]] = field(default_factory=list)


def parse(text: str) -> Page:
    """Takes the commands out of a page's Markdown."""
    page, fence, mark, block, start = Page(), None, None, [], 0
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if fence is None:
            if match:
                fence, block, start = (match[1], match[2].strip()), [], number
            elif LOOKS_LIKE_COMMAND.match(line):
                raise PageError(f"line {number}: a command outside a `console` block is never run")
            elif line.strip():
                found = MARK.match(line.strip())
                if line.startswith("<!--") and not found and "-->" in line:
                    raise PageError(f"line {number}: unknown comment; expected `not run: WHY` or `numbers vary: WHY`")
                mark = (found[1], found[2]) if found else None
        elif match and match[1].startswith(fence[0]) and not match[2].strip():
            add_block(page, fence[1], block, start, mark)
            fence = mark = None
        else:
            block.append(line)
    if fence is not None:
        raise PageError(f"line {start}: the block has no end")
    return page


def add_block(page: Page, language: str, block: list[str], start: int, mark: tuple[str, str] | None) -> None:
    """Adds a block's commands to the page."""
    if language in ("sh", "bash", "shell", ""):
        raise PageError(f"line {start}: blocks need a language, and shell blocks must be `console` blocks with `$ ` commands")
    if language != "console":
        if any(line.startswith("$ ") for line in block):
            raise PageError(f"line {start}: a `{language}` block has a command that is never run")
        return
    if mark and mark[0] == "not run":
        page.left_out.append((start, mark[1]))
        return
    commands = []
    for offset, line in enumerate(block, 1):
        if line.startswith("$ "):
            commands.append(Command(start + offset, line[2:], numbers_vary=mark is not None))
        elif not commands:
            raise PageError(f"line {start + offset}: a `console` block begins with a `$ ` command")
        elif line.startswith("> ") and not commands[-1].output:
            commands[-1].text += "\n" + line[2:]
        else:
            commands[-1].output.append(line)
    page.commands += commands


def normal(line: str, numbers_vary: bool) -> str:
    """The part of an output line that has to agree."""
    if numbers_vary:
        # Tables grow and shrink with their numbers.
        line = re.sub(r"-{3,}", "---", NUMBER.sub("N", line))
    return " ".join(line.split())


def matches(expected: list[str], actual: list[str], numbers_vary: bool) -> bool:
    """Whether an output is the expected one, in which `...` stands for any lines."""
    want = [normal(line, numbers_vary) for line in expected]
    got = [normal(line, numbers_vary) for line in actual]
    while want and not want[-1]:
        want.pop()
    while got and not got[-1]:
        got.pop()
    return match_from(want, got)


def match_from(want: list[str], got: list[str]) -> bool:
    """As `matches`, for normal lines."""
    if not want:
        return not got
    if want[0] == "...":
        return any(match_from(want[1:], got[skip:]) for skip in range(len(got) + 1))
    return bool(got) and same_line(want[0], got[0]) and match_from(want[1:], got[1:])


def same_line(want: str, got: str) -> bool:
    """Whether a line is the expected one."""
    return re.fullmatch(".*".join(map(re.escape, want.split("..."))), got) is not None


def anchors(text: str) -> set[str]:
    """The names by which a page's headings can be linked to."""
    found, inside = set(), False
    for line in text.splitlines():
        if FENCE.match(line):
            inside = not inside
        elif not inside and line.startswith("#"):
            title = line.lstrip("#").strip().lower()
            found.add(re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", title)))
    return found


def broken_links(path: Path, text: str) -> list[str]:
    """Links of a page that lead nowhere within the clone."""
    broken = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in anchors(linked.read_text())):
            broken.append(target)
    return broken


def built_dismax(cargo_flags: list[str]) -> Path:
    """Builds the command with all features and gives its path."""
    # The example takes part so that cargo chooses the features of dependencies that `cargo test --workspace` compiled already.
    build = ["cargo", "build", "--workspace", "--bin", "dismax", "--example", "score_stream", *cargo_flags]
    build.append("--message-format=json-render-diagnostics")
    lines = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    built = [message for message in map(json.loads, lines) if message.get("executable")]
    return Path(next(message["executable"] for message in built if message["target"]["name"] == "dismax"))


def shown(path: Path) -> str:
    """A page as messages name it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def without_network() -> list[str]:
    """What to put in front of a command so that it has no network; nothing where the system does not allow that."""
    prefix = ["unshare", "--map-root-user", "--net"]
    try:
        return prefix if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0 else []
    except FileNotFoundError:
        return []


class Runner:
    """Runs pages, each in a folder of its own."""

    def __init__(self, dismax: Path, work: Path):
        self.work = work
        self.prefix = without_network()
        programs = work / "programs"
        programs.mkdir()
        (programs / "dismax").symlink_to(dismax.resolve())
        # Nothing of the reader's own settings or history takes part.
        self.environment = os.environ | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(work),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
        }
        self.demo = self.folder("demo") / "demo-output"

    def folder(self, name: str) -> Path:
        """A folder in which a page's commands work."""
        folder = self.work / name
        folder.mkdir()
        for entry in LINKED:
            (folder / entry).symlink_to(ROOT / entry)
        return folder

    def run(self, command: str, folder: Path) -> tuple[int, list[str]]:
        """Exit status and output of a command, standard error included as a terminal shows it."""
        try:
            done = subprocess.run(
                [*self.prefix, "bash", "-euo", "pipefail", "-c", command],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return -1, [f"still running after {TIMEOUT_SECONDS} s"]
        return done.returncode, done.stdout.decode(errors="replace").splitlines()

    def make_demo(self) -> None:
        """What `make demo` does once the command is built."""
        status, output = self.run("scripts/demo.sh", self.demo.parent)
        if status != 0:
            raise SystemExit("\n".join(["scripts/demo.sh failed:", *output]))

    def page(self, path: Path) -> tuple[int, list[tuple[int, str]], list[str]]:
        """Runs a page: number of commands, blocks left out, and what went wrong."""
        text = path.read_text()
        name = shown(path)
        failures = [f"{name}: the link {target} leads nowhere" for target in broken_links(path, text)]
        try:
            page = parse(text)
        except PageError as error:
            return 0, [], [*failures, f"{name}, {error}"]
        folder = self.folder(name.replace("/", "-"))
        if page.commands:
            shutil.copytree(self.demo, folder / "demo-output")
        for command in page.commands:
            status, output = self.run(command.text, folder)
            if status != 0:
                failures.append("\n".join([f"{name}:{command.line}: exit status {status}: {command.text}", *output]))
            elif command.output and not matches(command.output, output, command.numbers_vary):
                failures.append(
                    "\n".join([f"{name}:{command.line}: {command.text}", "-- the page shows", *command.output])
                    + "\n".join(["", "-- it prints", *output])
                )
        return len(page.commands), page.left_out, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dismax", type=Path, help="the program to run, built with all features (default: build it)")
    parser.add_argument("--page", type=Path, action="append", help="run this page only; may be repeated")
    parser.add_argument("cargo_flags", nargs="*", metavar="CARGO_FLAG")
    arguments = parser.parse_args()
    dismax = arguments.dismax or built_dismax(arguments.cargo_flags)
    pages = [page.resolve() for page in arguments.page or []] or [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]
    start, total, left_out, failures = time.monotonic(), 0, [], []
    with tempfile.TemporaryDirectory(prefix="dismax-docs-") as work:
        runner = Runner(dismax, Path(work))
        runner.make_demo()
        for path in pages:
            commands, skipped, failed = runner.page(path)
            total += commands
            left_out += [f"{shown(path)}:{line}: {reason}" for line, reason in skipped]
            failures += failed
    for failure in failures:
        print(f"\n{failure}", file=sys.stderr)
    network = "without" if runner.prefix else "with"
    seconds = time.monotonic() - start
    print(f"docs: {total} commands on {len(pages)} pages in {seconds:.0f} s {network} a network, {len(failures)} failures")
    for line in left_out:
        print(f"  not run: {line}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
