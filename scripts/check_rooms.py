#!/usr/bin/env python3
"""Checks the shape of the house: which crate, room and file may use which.

    scripts/check_rooms.py [--graph] [crates] [rooms] [files] [messages]

A room is a module at the top of `src/`, the crate `dismax`. The rules:

- A crate depends only on crates below it (`CRATES`), and only the upper ones know DataFusion (`ONLY_IN`).
- A room imports only rooms below it (`ROOMS`).
- No files of a crate import each other, not even by way of others.
- No library message names a flag of the command, and none below the SQL layer names a SQL function.

Tests may use what they like. Without names all four are checked. `--graph` prints the rooms and what each imports, for `docs/architecture.md`.
"""

import argparse
import re
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import rust_source

ROOT = Path(__file__).resolve().parent.parent

CHECKS = ["crates", "rooms", "files", "messages"]

# Crates from the ground up, by folder.
CRATES = {
    "kernels": "dismax-kernels",
    "charts": "dismax-charts",
    ".": "dismax",
    "export": "dismax-export",
    "fuzz": "dismax-fuzz",
    "train": "dismax-train",
    "audit": "dismax-audit",
    "udfs": "dismax-udfs",
    "cluster": "dismax-cluster",
    "cli": "dismax-cli",
    "python": "dismax-python",
}
# Dependencies that only some crates may have: heavy ones, and charts, which loading and scoring do without.
ONLY_IN = {
    "datafusion": {"dismax-udfs", "dismax-cluster", "dismax-cli", "dismax-python"},
    "datafusion-distributed": {"dismax-cluster"},
    "tonic": {"dismax-cluster"},
    "datafusion-ffi": {"dismax-python"},
    "pyo3": {"dismax-python"},
    "plotters": {"dismax-charts"},
    "dismax-charts": {"dismax-train", "dismax-audit", "dismax-cli"},
    "clap": {"dismax-cli"},
}
# Rooms of `src/` from the ground up. Rooms of one line do not know each other.
ROOMS = [
    ["error", "text"],
    ["cancel", "parallel", "device"],
    ["run", "disk"],
    ["location"],
    ["score", "image", "embedding", "tta"],
    ["metrics", "dataset", "network"],
    ["calibration", "loss"],
    ["model"],
    ["stage"],
    ["columns"],
    ["evaluate", "score_file", "embed_file", "filter"],
]
# Crates whose messages reach programs as well as the command.
LIBRARIES = [".", "export", "train", "audit", "udfs", "cluster", "charts", "kernels"]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*\b")
SQL_FUNCTION = re.compile(r"\bdismax_(?:prediction|confidence|probabilities|top_k|prediction_set|embedding|ood_score|ood_p_value|is_ood|error|score|image_info|hash_distance)\b")
# Code between `crate`, `self` or `super` and what it names.
INLINE_PATH = re.compile(r"\b((?:crate|self|super)(?:::[A-Za-z_]\w*)+)")
# The first part of a path that is neither of these: perhaps a module next to this one.
RELATIVE_PATH = re.compile(r"(?<![:\w])([a-z_]\w*)::(?=[A-Za-z_<{])")


class Module:
    """One file of a crate."""

    def __init__(self, path: Path, name: tuple[str, ...], text: str):
        self.path, self.name = path, name
        code = rust_source.without_strings(rust_source.without_tests(rust_source.without_comments(text)))
        # It says who may see something, and uses nothing.
        code = re.sub(r"pub\(in [^)]*\)", "pub", code)
        self.imports = rust_source.imports(code)
        self.body = rust_source.without_imports(code)

    def defines(self, item: str) -> bool:
        """Whether the file itself has an item of this name."""
        kinds = r"(?:struct|enum|union|trait|type|const|static|fn|macro_rules!)"
        return re.search(rf"\b{kinds}\s+(?:mut\s+)?{re.escape(item)}\b", self.body) is not None


class Crate:
    """The files of a crate, and who imports whom."""

    def __init__(self, source: Path):
        self.modules: dict[tuple[str, ...], Module] = {}
        for path in sorted(source.rglob("*.rs")):
            parts = path.relative_to(source).with_suffix("").parts
            if parts[-1] in ("mod", "lib", "main"):
                parts = parts[:-1]
            if any(part == "tests" or part.endswith("_tests") for part in parts) or "bin" in parts:
                continue
            self.modules[parts] = Module(path, parts, path.read_text())

    def resolve(self, at: tuple[str, ...], path: tuple[str, ...], seen: frozenset = frozenset()) -> tuple[str, ...] | None:
        """The module in which an imported path ends, with re-exports followed; none outside the crate."""
        head, rest = path[0], path[1:]
        if head == "crate":
            at = ()
        elif head == "self":
            pass
        elif head == "super":
            at = at[:-1]
        elif (*at, head) in self.modules:
            at = (*at, head)
        else:
            return None
        while rest:
            head, rest = rest[0], rest[1:]
            if head == "super":
                at = at[:-1]
            elif (*at, head) in self.modules:
                at = (*at, head)
            elif head == "self":
                continue
            else:
                return self.item(at, head, seen)
        return at

    def item(self, at: tuple[str, ...], name: str, seen: frozenset) -> tuple[str, ...] | None:
        """The module that defines an item which the module `at` has."""
        module = self.modules.get(at)
        if module is None or (at, name) in seen or module.defines(name):
            return at
        seen |= {(at, name)}
        for found in module.imports:
            if found.name == name:
                # A name of another crate that is handed on counts as this module's own.
                return self.resolve(at, found.path, seen) or at
        for found in module.imports:
            if found.name == "*":
                inside = self.resolve(at, found.path[:-1], seen)
                if inside is not None and inside != at and self.modules[inside].defines(name):
                    return inside
        return at

    def edges(self) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
        """For each module the modules whose items it uses. A module that only hands names on does not use them."""
        edges = defaultdict(set)
        for name, module in self.modules.items():
            used = []
            for found in module.imports:
                path = found.path[:-1] if found.name == "*" else found.path
                if path and (not found.public or re.search(rf"\b{re.escape(found.name)}\b", module.body)):
                    used.append(path)
            used += [tuple(path.split("::")) for path in INLINE_PATH.findall(module.body)]
            used += [(head,) for head in RELATIVE_PATH.findall(module.body) if (*name, head) in self.modules]
            for path in used:
                target = self.resolve(name, path)
                if target is not None and target != name and target in self.modules:
                    edges[name].add(target)
        return edges


def circles(edges: dict) -> list[list]:
    """Groups of nodes that reach each other (Tarjan's strongly connected components of more than one node)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def rooms(edges: dict) -> dict[str, set[str]]:
    """The same for top-level modules; the crate's root is not a room."""
    between = defaultdict(set)
    for name, targets in edges.items():
        between[name[0] if name else ""] |= {target[0] for target in targets if target}
    between.pop("", None)
    return {room: targets - {room} for room, targets in between.items()}


def check_crates(root: Path) -> list[str]:
    """Arrows between manifests that run up, and dependencies in the wrong crate."""
    problems, order = [], list(CRATES.values())
    for folder, crate in CRATES.items():
        manifest = tomllib.loads((root / folder / "Cargo.toml").read_text())
        for kind in ("dependencies", "build-dependencies", "dev-dependencies"):
            for dependency in manifest.get(kind, {}):
                if dependency in order and order.index(dependency) >= order.index(crate):
                    problems.append(f"{folder}/Cargo.toml: {crate} must not depend on {dependency}, which is above it")
                if kind == "dependencies" and crate not in ONLY_IN.get(dependency, {crate}):
                    problems.append(f"{folder}/Cargo.toml: {crate} must not depend on {dependency}")
    members = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["members"]
    for member in members:
        if member not in CRATES and (root / member / "src").exists():
            problems.append(f"Cargo.toml: the crate {member} has no place in the order of crates")
    return problems


def check_rooms(edges: dict, source: str) -> list[str]:
    """Arrows between the rooms of `src/` that do not run down."""
    floor = {room: number for number, line in enumerate(ROOMS) for room in line}
    problems = []
    for room, targets in sorted(rooms(edges).items()):
        if room not in floor:
            problems.append(f"{source}/{room}: the room has no place in the order of rooms")
            continue
        for target in sorted(targets):
            if target in floor and floor[target] >= floor[room]:
                files = sorted(
                    "/".join(name)
                    for name, used in edges.items()
                    if name and name[0] == room and any(module and module[0] == target for module in used)
                )
                problems.append(f"{source}/{room} must not import {target}, which is not below it: {', '.join(files)}")
    return problems


def check_files(edges: dict, source: str) -> list[str]:
    """Files that import each other, within one crate."""
    problems = []
    for group in circles(edges):
        arrows = [
            f"{'/'.join(name) or 'root'} -> {'/'.join(target) or 'root'}"
            for name in group
            for target in sorted(edges.get(name, ()))
            if target in group
        ]
        problems.append(f"{source}: files import each other: {', '.join(arrows)}")
    return problems


def check_messages(folder: str, root: Path) -> list[str]:
    """String literals that name a flag or, below the SQL layer, a SQL function."""
    problems = []
    for path in sorted((root / folder / "src").rglob("*.rs")):
        if path.stem == "tests" or path.stem.endswith("_tests") or "tests" in path.parts:
            continue
        text = rust_source.without_tests(rust_source.without_comments(path.read_text()))
        for line, literal in rust_source.strings(text):
            named = FLAG.findall(literal) + ([] if folder == "udfs" else SQL_FUNCTION.findall(literal))
            if named:
                problems.append(f"{path.relative_to(root)}:{line}: a message names {', '.join(named)}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graph", action="store_true", help="print which room imports which")
    parser.add_argument("checks", nargs="*", choices=[[], *CHECKS], help="what to check (default: everything)")
    arguments = parser.parse_args()
    checks = arguments.checks or CHECKS
    if arguments.graph:
        between = rooms(Crate(ROOT / "src").edges())
        for line in ROOMS:
            for room in line:
                print(f"{room}: {', '.join(sorted(between.get(room, ())))}")
        return 0
    problems = check_crates(ROOT) if "crates" in checks else []
    if "rooms" in checks:
        problems += check_rooms(Crate(ROOT / "src").edges(), "src")
    if "files" in checks:
        for folder in CRATES:
            problems += check_files(Crate(ROOT / folder / "src").edges(), str(Path(folder) / "src"))
    if "messages" in checks:
        for folder in LIBRARIES:
            problems += check_messages(folder, ROOT)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{', '.join(checks)}: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
