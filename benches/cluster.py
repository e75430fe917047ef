#!/usr/bin/env python3
"""Two workers with one core each beside one process with two cores, on this machine.

    benches/cluster.py DISMAX MODEL FILE... [--image COLUMN] [--rounds N] [--cores A,B]

`FILE` are Parquet files with the same columns, several, so that `score` has parts to deal out. Both run in turns, all
processes afresh each time: workers keep the scores of queries. A rate counts from the start of the command to its end,
with what it takes to load the model. Bytes are those of the loopback device meanwhile, headers and answers to the
network's questions among them; let nothing else use it.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path


def loopback_bytes():
    """Bytes that the loopback device has carried."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[0])
    raise SystemExit("there is no loopback device")


class Bench:
    def __init__(self, arguments, folder):
        self.program, self.model = arguments.dismax.resolve(), arguments.model.resolve()
        self.cores = arguments.cores.split(",")
        self.folder, self.inputs = folder, folder / "inputs"
        self.inputs.mkdir()
        # Below one folder that the workers may read.
        for number, file in enumerate(arguments.files):
            shutil.copy(file, self.inputs / f"{number:04}.parquet")
        image = arguments.image
        self.query = (f"SELECT dismax_prediction({image}) AS p, count(*), round(avg(dismax_confidence({image})), 5) "
                      f"FROM '{self.inputs}' GROUP BY 1 ORDER BY 1")
        self.score = ["score", self.inputs, "--model", self.model, "--image", image]
        self.score += ["--out", f"{folder}/out/", "--force", "--json"]
        self.sql = ["sql", "--format", "csv", "--model", f"m={self.model}", self.query]

    def pinned(self, cores, command):
        return ["taskset", "--cpu-list", cores, self.program, "--quiet", *map(str, command)]

    def timed(self, command, more=()):
        """Seconds, bytes on the network and output."""
        before, begun = loopback_bytes(), time.perf_counter()
        command_line = self.pinned(",".join(self.cores), [*command, *more])
        run = subprocess.run(command_line, capture_output=True, text=True, check=False)
        seconds, count = time.perf_counter() - begun, loopback_bytes() - before
        if run.returncode:
            raise SystemExit(f"{command[0]} ended with {run.returncode}: {run.stderr}")
        return seconds, count, run.stdout

    def alone(self, command):
        return self.timed(command, ["--workers", str(len(self.cores))])

    def on_workers(self, command):
        flags = ["--listen", "127.0.0.1:0", "--model", f"m={self.model}", "--allow", self.folder, "--workers", "1"]
        workers, pipes = [], {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        try:
            for core in self.cores:
                workers.append(subprocess.Popen(self.pinned(core, ["worker", *flags]), **pipes))
            addresses = [worker.stdout.readline().strip() for worker in workers]
            return self.timed(command, ["--cluster", ",".join(addresses)])
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dismax", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--image", default="image")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", default="0,1")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dismax-bench-") as folder:
        bench = Bench(arguments, Path(folder))
        _, _, summary = bench.alone(bench.score)
        rows = json.loads(summary)["rows"]
        print(f"{rows:,} images in {len(arguments.files)} files, {arguments.rounds} rounds; images/s are medians\n")
        print("| command | one process | workers | ratio (lowest to highest) | network, bytes/image |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, command in [("score", bench.score), ("sql", bench.sql)]:
            alone, cluster, sent = [], [], []
            for _ in range(arguments.rounds):
                seconds, _, expected = bench.alone(command)
                alone.append(rows / seconds)
                seconds, count, out = bench.on_workers(command)
                cluster.append(rows / seconds)
                sent.append(count / rows)
                if name == "sql" and out != expected:
                    raise SystemExit(f"other rows than on one machine:\n{out}{expected}")
            ratios = [ours / theirs for ours, theirs in zip(cluster, alone, strict=True)]
            rates = " | ".join(f"{statistics.median(each):,.0f}" for each in (alone, cluster))
            print(f"| {name} | {rates} | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | "
                  f"{statistics.median(sent):,.0f} |", flush=True)


if __name__ == "__main__":
    main()
