#!/usr/bin/env python3
"""Writes what a packed dismax is made of, and the licences of it:  scripts/bill_of_materials.py FOLDER

`FOLDER/bom.cdx.json` lists every crate in the program, and libtorch, in CycloneDX 1.5; `FOLDER/licenses` has the texts that come with
them.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLATFORM = "x86_64-unknown-linux-gnu"
NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE")


def crates():
    """The crates that are linked into the command, by id."""
    words = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={PLATFORM}"]
    metadata = json.loads(subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    wanted = [next(id for id, package in packages.items() if package["name"] == "dismax-cli")]
    linked = {}
    while wanted:
        id = wanted.pop()
        if id in linked:
            continue
        # What only builds or tests something is not part of it.
        used = [dep["pkg"] for dep in nodes[id]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
        linked[id] = (packages[id], used)
        wanted += used
    return linked


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    found = {"type": "library", "bom-ref": reference(package), "purl": reference(package)}
    found |= {"name": package["name"], "version": package["version"]}
    if package["license"]:
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((package["name"], package["version"])):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def main():
    folder = Path(sys.argv[1])
    linked = crates()
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    components = [component(package, checksums) for package, _ in linked.values()]
    libtorch = json.loads((ROOT / "scripts/libtorch.lock.json").read_text())
    for wheel in libtorch["wheels"]:
        if "cpu" in wheel:
            purl = f"pkg:pypi/{wheel['project']}@{wheel['version']}"
            hashes = [{"alg": "SHA-256", "content": wheel["sha256"]}]
            named = {"name": wheel["project"], "version": wheel["version"]}
            components.append({"type": "library", "bom-ref": purl, "purl": purl, "hashes": hashes} | named)
    [program] = [entry for entry in components if entry["name"] == "dismax-cli"]
    components.remove(program)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": program | {"type": "application"}},
        "components": sorted(components, key=lambda entry: entry["bom-ref"]),
        "dependencies": sorted(
            (
                {"ref": reference(package), "dependsOn": sorted(reference(linked[id][0]) for id in used)}
                for package, used in linked.values()
            ),
            key=lambda entry: entry["ref"],
        ),
    }
    (folder / "bom.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")

    for package, _ in linked.values():
        source = Path(package["manifest_path"]).parent
        if source.is_relative_to(ROOT):
            continue
        for path in sorted(source.iterdir()):
            if path.is_file() and path.name.upper().startswith(NAMES):
                target = folder / "licenses" / f"{package['name']}-{package['version']}"
                target.mkdir(parents=True, exist_ok=True)
                (target / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()
