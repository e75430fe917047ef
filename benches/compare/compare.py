#!/usr/bin/env python3
"""dismax beside PyTorch, Daft, ONNX Runtime and OpenVINO, in one run.

    benches/compare/compare.py --cifar10 FOLDER --photos PHOTOS.parquet --model MODEL [--out FOLDER] [--only SECTION...]

FOLDER has CIFAR-10's train.parquet and test.parquet (columns img, label), PHOTOS.parquet photographs as JPEG (column image), MODEL is
a ResNet-20 for CIFAR-10. The other networks are drawn. Build dismax first:

    make setup && cargo build --release --workspace && cargo bench --no-run --bench throughput

Everything that one section compares runs in turn, `--rounds` times; what is said is the median, ratios are medians of the rounds'
ratios. Writes results.json, results.md and results.svg. The first run makes a virtual environment for the others (about 5 GB).
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv

HERE = pathlib.Path(__file__).resolve().parent
PEERS = HERE / "peers"
SECTIONS = ["resnet20", "vgg8", "resnet34", "resnet18", "resnet50", "decode", "train", "sql", "start", "growth"]


class Failed(Exception):
    """A command that did not end well."""


def run(command, **options):
    """Wall seconds, peak memory in MiB and standard output of a command that must succeed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, text=True, **options)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode != 0:
            raise Failed(f"{' '.join(str(part) for part in command)}\n{err.read()[-3000:]}")
        return seconds, usage.ru_maxrss / 1024, out.read()


class DeviceMemory:
    """The most memory that the GPU's processes take while something runs, in MiB, by nvidia-smi; none without."""

    def __init__(self, wanted):
        self.peak, self.ended = None, threading.Event()
        self.thread = threading.Thread(target=self.watch) if wanted else None

    def watch(self):
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not self.ended.wait(0.2):
            asked = subprocess.run(command, capture_output=True, text=True)
            if asked.returncode == 0:
                self.peak = max(self.peak or 0, *map(int, asked.stdout.split()))

    def __enter__(self):
        if self.thread:
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        if self.thread:
            self.thread.join()


class Contest:
    """Commands that run in turn. The first is what the others are compared with."""

    def __init__(self, title, unit="images/s", device="cpu"):
        self.title, self.unit, self.device, self.entries = title, unit, device, {}

    def add(self, name, measure):
        self.entries[name] = measure

    def rounds(self, count):
        """Medians and ratios over so many rounds. An entry that fails is left out and said."""
        values, memory, on_device, failed = {}, {}, {}, {}
        for _ in range(count):
            for name, measure in self.entries.items():
                if name in failed:
                    continue
                try:
                    with DeviceMemory(self.device != "cpu") as device:
                        value, peak = measure()
                except Failed as error:
                    failed[name] = str(error)
                    print(f"{self.title}: {name} failed\n{error}", file=sys.stderr)
                    continue
                values.setdefault(name, []).append(value)
                memory.setdefault(name, []).append(peak)
                on_device.setdefault(name, []).append(device.peak or 0)
                print(f"{self.title}: {name}: {value:.1f} {self.unit}, {peak:.0f} MiB", file=sys.stderr, flush=True)
        ours = next(iter(self.entries))
        rows = []
        for name, each in values.items():
            ratios = [mine / other for mine, other in zip(values.get(ours, []), each)]
            ratio = statistics.median(ratios) if ratios else None
            spread = [min(ratios), max(ratios)] if ratios else None
            peaks = {"memory_mib": max(memory[name]), "device_mib": max(on_device[name]) or None}
            rows.append({"name": name, "median": statistics.median(each), "ratio": ratio, "spread": spread, **peaks})
        return {"title": self.title, "unit": self.unit, "rows": rows, "failed": failed}


class Machine:
    """Where the programs are and how they are called."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.dismax = arguments.dismax
        self.python = python(arguments.venv)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dismax-compare-"))
        self.out = self.folder / "out.parquet"
        self.cores = arguments.cores or len(os.sched_getaffinity(0))

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def peer(self, script, *rest):
        return [self.python, PEERS / script, *rest]

    def reported(self, command):
        """What a program of ours or theirs measures itself, without its start."""

        def measure():
            _, peak, out = run(command)
            line = json.loads(out.strip().splitlines()[-1])
            return line["images"] / line["seconds"], peak

        return measure

    def end_to_end(self, command, rows):
        """From process start to exit."""

        def measure():
            seconds, peak = self.seconds(command)()
            return rows / seconds, peak

        return measure

    def rate(self, command):
        """From the first row read to the last one written, as `dismax score --json` says: on a GPU the start takes seconds."""

        def measure():
            self.clear()
            _, peak, out = run([*command, "--json"])
            return json.loads(out)["images_per_second"], peak

        return measure

    def seconds(self, command):
        """From process start to exit, in seconds."""

        def measure():
            self.clear()
            taken, peak, _ = run(command)
            return taken, peak

        return measure

    def clear(self):
        """Takes away what the last command wrote; Daft writes a folder."""
        shutil.rmtree(self.out, ignore_errors=True) if self.out.is_dir() else self.out.unlink(missing_ok=True)

    def score(self, model, data, image):
        return [self.dismax, "score", data, "--model", model, "--image", image, "--out", self.out, "--force", "--quiet", *self.device()]

    def device(self):
        return ["--device", self.arguments.device] if self.arguments.device != "cpu" else []

    def ours(self, *rest):
        return [self.arguments.throughput, *rest]


def python(folder):
    """The interpreter of the virtual environment, made where it is missing."""
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"], check=True)
    return interpreter


def rows_of(machine, path):
    _, _, out = run([machine.python, "-c", f"import pyarrow.parquet as p; print(p.ParquetFile({str(path)!r}).metadata.num_rows)"])
    return int(out)


def part(machine, path, rows, name):
    """So many rows of a Parquet file, from its start and again."""
    place = machine.folder / name
    code = f"""
import pyarrow as pa, pyarrow.parquet as p
table = p.read_table({str(path)!r})
copies = pa.concat_tables([table] * -(-{rows} // len(table))).slice(0, {rows})
p.write_table(copies, {str(place)!r}, row_group_size=1000)
"""
    run([machine.python, "-c", code])
    return place


def drawn(machine, architecture, data, image):
    place = machine.folder / architecture
    run(machine.peer("make_model.py", architecture, place, "--data", data, "--image", image, "--dismax", machine.dismax))
    return place


def careful(machine, model, data, image, rows):
    """The PyTorch script with the numbers of workers and rows that suit it best, found on a part of the rows."""
    sample = part(machine, data, max(200, rows // 5), "sample.parquet")
    best, command = 0.0, None
    for workers, threads in [(0, machine.cores), (1, 1), (machine.cores - 1, machine.cores), (machine.cores, machine.cores)]:
        for batch in (32, 128):
            flags = ["--image", image, "--workers", workers, "--threads", max(threads, 1), "--batch", batch, "--device", machine.arguments.device]
            machine.clear()
            try:
                value, _ = machine.reported(machine.peer("score_torch.py", model, sample, machine.out, *flags))()
            except Failed as error:
                print(error, file=sys.stderr)
                continue
            if value > best:
                best, command = value, machine.peer("score_torch.py", model, data, machine.out, *flags)
    if command is None:
        raise Failed("the PyTorch script runs with no number of workers; what it said stands above")
    print(f"PyTorch script: {' '.join(str(part) for part in command[-8:])}", file=sys.stderr)
    return command


def scoring(machine, title, model, data, image, rows, batch, own_batch):
    """End to end against the scripts, and the bare networks as ceilings; `own_batch` is what `dismax score` takes by itself."""
    if machine.arguments.device != "cpu":
        return scoring_on_gpu(machine, title, model, data, image)
    ends = Contest(f"{title}, end to end, process start to exit")
    ends.add("dismax score", machine.end_to_end(machine.score(model, data, image), rows))
    ends.add("PyTorch script", machine.end_to_end(careful(machine, model, data, image, rows), rows))
    ends.add("Daft", machine.end_to_end(machine.peer("score_daft.py", model, data, machine.out, "--image", image), rows))
    seconds, threads = machine.arguments.seconds, machine.cores
    flags = ["--seconds", seconds]
    ends.add("bare: dismax", machine.reported(machine.ours("network", model, *flags, "--batch", own_batch, "--workers", threads)))
    for engine in ["onnxruntime", "openvino", "torch-compile", "torch"]:
        more = ["--batch", batch, "--threads", threads]
        ends.add(f"bare: {engine}", machine.reported(machine.peer("bare.py", engine, model, *flags, *more)))
    return ends


def scoring_on_gpu(machine, title, model, data, image):
    """Rates after the start, over so many copies of the rows that they take a while."""
    device, copies = machine.arguments.device, machine.folder / f"gpu-{data.stem}"
    copies.mkdir()
    for copy in range(machine.arguments.gpu_copies):
        os.symlink(data.resolve(), copies / f"{copy:04}.parquet")
    ends = Contest(f"{title}, after the start", device=device)
    ends.add("dismax score", machine.rate(machine.score(model, copies, image)))
    script = careful(machine, model, data, image, rows_of(machine, data))
    ends.add("PyTorch script", machine.reported(script))
    flags = ["--seconds", machine.arguments.seconds, "--batch", 1024 if image == "img" else 256, "--device", device]
    ends.add("bare: dismax", machine.reported(machine.ours("network", model, *flags)))
    ends.add("bare: torch", machine.reported(machine.peer("bare.py", "torch", model, *flags, "--threads", machine.cores)))
    return ends


def resnet20(machine):
    data = machine.arguments.cifar10 / "test.parquet"
    return [scoring(machine, "ResNet-20 on CIFAR-10", machine.arguments.model, data, "img", rows_of(machine, data), 32, 8)]


def vgg8(machine):
    data = machine.arguments.cifar10 / "test.parquet"
    model = drawn(machine, "vgg8", data, "img")
    return [scoring(machine, "VGG-8 on CIFAR-10", model, data, "img", rows_of(machine, data), 32, 8)]


def resnet34(machine):
    data = part(machine, machine.arguments.cifar10 / "test.parquet", machine.arguments.rows34, "rows34.parquet")
    model = drawn(machine, "resnet34", data, "img")
    return [scoring(machine, "ResNet-34 on CIFAR-10", model, data, "img", machine.arguments.rows34, 32, 32)]


def photographs(machine, architecture, title):
    count = machine.arguments.photo_rows
    data = part(machine, machine.arguments.photos, count, "photos.parquet")
    model = drawn(machine, architecture, data, "image")
    return [scoring(machine, f"{title} at 224x224 on photographs", model, data, "image", count, 8, 8)]


def resnet18(machine):
    return photographs(machine, "resnet18", "ResNet-18")


def resnet50(machine):
    return photographs(machine, "resnet50", "ResNet-50")


def decode(machine):
    contest = Contest("decoding and resizing photographs to 224x224, one core")
    seconds = ["--seconds", machine.arguments.seconds]
    contest.add("dismax", machine.reported(machine.ours("decode", machine.arguments.photos, "--image", "image", *seconds)))
    for library in ("pillow", "torchvision", "daft"):
        command = machine.peer("decode.py", library, machine.arguments.photos, "--image", "image", *seconds)
        contest.add(library, machine.reported(command))
    return [contest]


def train(machine):
    data = part(machine, machine.arguments.cifar10 / "train.parquet", 5500, "train.parquet")
    place = machine.folder / "trained"

    def ours():
        flags = ["--arch", "resnet20", "--loss", "dismax-dagger", "--epochs", "2", "--batch-size", "64", "--validation", "0.1"]
        _, peak, _ = run([machine.dismax, "train", data, "--out", place, "--force", "--quiet", *flags, *machine.device()])
        last = (place / "training.csv").read_text().strip().splitlines()
        return float(last[-1].split(",")[last[0].split(",").index("images_per_second")]), peak

    contest = Contest("training ResNet-20 with DisMax†, batch 64")
    contest.add("dismax train", ours)
    for workers, threads in [(0, machine.cores), (1, machine.cores)]:
        flags = ["--image", "img", "--label", "label", "--workers", workers, "--threads", threads]
        contest.add(f"PyTorch loop, {workers} workers", machine.reported(machine.peer("train.py", data, *flags)))
    return [contest]


def sql(machine):
    data, model = machine.arguments.cifar10 / "test.parquet", machine.arguments.model
    rows = rows_of(machine, data)
    query = f"SELECT dismax_prediction(img), dismax_ood_score(img) FROM '{data}' WHERE NOT dismax_is_ood(img)"
    contest = Contest("SQL, process start to exit")
    command = [machine.dismax, "sql", "--model", model, "--out", machine.out, "--force", "--quiet", query]
    contest.add("dismax sql", machine.end_to_end(command, rows))
    contest.add("dismax score", machine.end_to_end(machine.score(model, data, "img"), rows))
    return [contest]


def start(machine):
    data = part(machine, machine.arguments.cifar10 / "test.parquet", 100, "rows100.parquet")
    contest = Contest("100 rows, process start to exit", "s")
    contest.add("dismax score", machine.seconds(machine.score(machine.arguments.model, data, "img")))
    contest.add("of it: loading libtorch (dismax --version)", machine.seconds([machine.dismax, "--version"]))
    flags = ["--image", "img", "--workers", 0, "--threads", machine.cores]
    contest.add("PyTorch script", machine.seconds(machine.peer("score_torch.py", machine.arguments.model, data, machine.out, *flags)))
    return [contest]


def growth(machine):
    """Time and memory as rows, workers and batch sizes grow."""
    test, model = machine.arguments.cifar10 / "test.parquet", machine.arguments.model
    rows = rows_of(machine, test)
    contests = []
    times = Contest("rows times 1, 10, 50")
    for copies in machine.arguments.copies:
        folder = machine.folder / f"copies{copies}"
        folder.mkdir()
        for copy in range(copies):
            os.symlink(test.resolve(), folder / f"{copy:02}.parquet")
        times.add(f"{copies} times", machine.end_to_end(machine.score(model, folder, "img"), rows * copies))
    contests.append(times)
    workers = Contest("workers")
    for count in (1, machine.cores):
        workers.add(f"{count} workers", machine.end_to_end([*machine.score(model, test, "img"), "--workers", count], rows))
    contests.append(workers)
    batches = Contest("rows of a pass through the network")
    for batch in (8, 16, 32, 64, 128):
        batches.add(f"batch {batch}", machine.end_to_end([*machine.score(model, test, "img"), "--batch-size", batch], rows))
    contests.append(batches)
    return contests


def table(result):
    lines = [f"### {result['title']}", "", f"| | {result['unit']} | ratio | peak MiB | on the GPU |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in result["rows"]:
        ratio = f"{row['ratio']:.2f} ({row['spread'][0]:.2f} to {row['spread'][1]:.2f})" if row["ratio"] else ""
        median = f"{row['median']:,.{0 if row['median'] > 20 else 2}f}"
        lines.append(f"| {row['name']} | {median} | {ratio} | {row['memory_mib']:,.0f} | {row['device_mib'] or ''} |")
    lines.extend(f"\n{name} failed: {why.splitlines()[-1]}" for name, why in result["failed"].items())
    return "\n".join(lines) + "\n"


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    release = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target")) / "release"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=pathlib.Path, required=True)
    parser.add_argument("--photos", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, default=HERE.parent.parent / "models" / "cifar10-resnet20")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("compare-output"))
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="how long bare networks and decoders run in a round")
    parser.add_argument("--rows34", type=int, default=1000, help="rows for ResNet-34")
    parser.add_argument("--photo-rows", type=int, default=3000)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--cores", type=int, help="cores to use [default: all]")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--gpu-copies", type=int, default=150, help="how often a GPU scores the rows")
    parser.add_argument("--venv", type=pathlib.Path, default=cache / "dismax-compare" / "venv")
    parser.add_argument("--dismax", type=pathlib.Path, default=release / "dismax")
    parser.add_argument("--throughput", type=pathlib.Path, help="the built bench [default: the newest in the target folder]")
    arguments = parser.parse_args()
    if arguments.throughput is None:
        built = [path for path in (release / "deps").glob("throughput-*") if os.access(path, os.X_OK) and not path.suffix]
        if not built:
            parser.error("the bench is not built: cargo bench --no-run --bench throughput")
        arguments.throughput = max(built, key=lambda path: path.stat().st_mtime)

    arguments.out.mkdir(parents=True, exist_ok=True)
    machine = Machine(arguments)
    report = {"machine": f"{processor()}, {machine.cores} cores", "device": arguments.device, "rounds": arguments.rounds, "results": []}
    try:
        for section in arguments.only:
            for contest in globals()[section](machine):
                report["results"].append(contest.rounds(arguments.rounds))
                (arguments.out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    finally:
        machine.close()
    text = f"{report['machine']}, {arguments.device}, {arguments.rounds} rounds\n\n" + "\n".join(map(table, report["results"]))
    (arguments.out / "results.md").write_text(text)
    run(machine.peer("chart.py", arguments.out / "results.json", arguments.out / "results.svg"))
    print(text)


if __name__ == "__main__":
    main()
