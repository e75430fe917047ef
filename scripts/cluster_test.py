#!/usr/bin/env python3
"""Queries and runs on workers that are processes on this machine, with faults.

    scripts/cluster_test.py DISMAX [--only NAME...]

`DISMAX` is the command's program. The data are the handwritten digits, each in many versions that differ in a comment
of the file, so that no worker finds an image scored already. SeaweedFS is fetched into `.cloud-test` for `s3://`.
Moments for faults are found in the workers' metrics; no speed is asserted.
"""

import argparse
import contextlib
import hashlib
import io
import json
import re
import resource
import shutil
import signal
import ssl
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from command_tests import (
    BUCKET,
    DIGITS,
    MODEL,
    ROOT,
    CommandTest,
    Seaweed,
    png_chunk,
    run_tests,
    seaweed_program,
)

PHOTOS = ROOT / "tests/data"
TOKEN, OTHER_TOKEN = "a-secret-of-the-test-0123456789", "another-secret-of-the-test-01234"
# Images of a source of the queries, and files where it has several.
ROWS, FILES = 120, 4
# Files of the runs that are disturbed, and rows of each: enough for a run of many seconds.
MANY_FILES, MANY_ROWS = 10, 1000
# Seconds after which something that should take a few is a fault, also on a busy machine.
PATIENCE = 120

# Queries on a source {t}, and how many of its images they decode: all, or those whose names end so.
SHAPES = [
    ("group by", "SELECT dismax_prediction(image) AS p, count(*), min(path) FROM {t} GROUP BY 1 ORDER BY 1", ""),
    ("group by, no order", "SELECT dismax_prediction(image) AS p, count(*) FROM {t} GROUP BY 1", ""),
    ("order by", "SELECT path, dismax_prediction(image), dismax_confidence(image) FROM {t} ORDER BY path", ""),
    ("no order", "SELECT path, dismax_probabilities(image) FROM {t}", ""),
    ("limit with order", "SELECT path, dismax_ood_score(image) AS s FROM {t} ORDER BY s DESC, path LIMIT 7", ""),
    ("join", "SELECT path, dismax_prediction(image), word FROM {t} JOIN (VALUES ('3', 'three'), ('7', 'seven')) AS w "
     "(digit, word) ON substr(path, 4, 1) = digit ORDER BY path", None),
    ("self-join", "SELECT a.path, a.p, b.s FROM (SELECT path, dismax_prediction(image) AS p FROM {t}) a JOIN (SELECT "
     "path, dismax_ood_score(image) AS s FROM {t}) b USING (path) ORDER BY path", None),
    ("union", "SELECT path, dismax_prediction(image) FROM {t} WHERE substr(path, 4, 1) < '5' UNION ALL SELECT path, "
     "dismax_prediction(image) FROM {t} WHERE substr(path, 4, 1) >= '5' ORDER BY path", ""),
    ("filter of rows", "SELECT path, dismax_prediction(image) FROM {t} WHERE path LIKE '%7.png' ORDER BY path",
     "7.png"),
    ("filter by scores", "SELECT path FROM {t} WHERE dismax_prediction(image) = 'cat' AND dismax_confidence(image) > "
     "0.3 ORDER BY path", ""),
    ("count", "SELECT count(*) FROM {t} WHERE dismax_is_ood(image)", ""),
    ("count of rows", "SELECT count(*) FROM {t}", None),
    ("window", "SELECT path, rank() OVER (PARTITION BY dismax_prediction(image) ORDER BY dismax_ood_score(image), "
     "path) FROM {t} ORDER BY path", ""),
    ("bh_reject", "SELECT count(*) FILTER (WHERE r) FROM (SELECT bh_reject(dismax_ood_p_value(image), 0.2) OVER () AS "
     "r FROM {t})", ""),
    ("aggregates", "SELECT count(*), round(avg(dismax_confidence(image)), 5), round(auroc(path < '0060', "
     "dismax_ood_score(image)), 5) FROM {t}", ""),
    ("distinct", "SELECT DISTINCT dismax_prediction(image) AS p FROM {t} ORDER BY p", ""),
    ("subquery", "SELECT path, dismax_confidence(image) FROM {t} WHERE path IN (SELECT path FROM {t} WHERE path LIKE "
     "'%3.png') ORDER BY path", "3.png"),
]
# Those for folders and tar files, which are read otherwise than Parquet.
FEWER = ["group by", "order by", "limit with order", "filter of rows", "count", "window"]
# What keeps workers busy.
LONG = "SELECT dismax_prediction(image) AS p, count(*) FROM {t} GROUP BY 1 ORDER BY 1"


class Worker:
    """A worker's process."""

    def __init__(self, test, name, flags, port=0, token=None, authority=None, largest_file=None, seconds=60):
        self.test, self.token, self.authority = test, token, authority
        self.out, self.err = test.path(f"{name}.out"), test.path(f"{name}.err")
        command = [test.program, "worker", "--listen", f"127.0.0.1:{port}", "--workers", "1", *map(str, flags)]

        def limit():
            if largest_file:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        # With its signals as they are here, a write beyond the limit is an error and does not end the process.
        # It starts elsewhere than the clients: what they call relative must not depend on it.
        self.process = subprocess.Popen(
            command, env=test.environment(RUST_LOG="info"), cwd="/", stdin=subprocess.DEVNULL, preexec_fn=limit,
            stdout=self.out.open("wb"), stderr=self.err.open("wb"), restore_signals=False)
        test.processes.append(self.process)
        self.address = test.until(f"the address of worker {name}", self.said, seconds)

    def said(self):
        self.test.check(self.process.poll() is None, f"the worker ended: {self.log()}")
        text = self.out.read_text()
        return text.endswith("\n") and text.strip()

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def log(self):
        return self.err.read_text()

    def page(self, path, token=None):
        """Status and text of a page."""
        request = urllib.request.Request(self.address + path)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        context = self.authority and ssl.create_default_context(cafile=self.authority)
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def counts(self):
        status, text = self.page("/metrics", self.token)
        self.test.check(status == 200, f"/metrics: {status}")
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("dismax_"): float(value) for name, value in lines}

    @property
    def decoded(self):
        return self.counts()["images_decoded_total"]

    @property
    def running(self):
        return self.counts()["tasks_running"]

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Workers(list):
    """Workers that end with the block of a `with`."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self:
            worker.kill()

    @property
    def flags(self):
        return ["--cluster", ",".join(worker.address for worker in self)]

    @property
    def decoded(self):
        return sum(worker.decoded for worker in self)

    @property
    def running(self):
        return sum(worker.running for worker in self)


def with_comment(image, comment):
    """Another file of the same picture."""
    text = comment.encode()
    if image.startswith(b"\x89PNG"):
        # Before the last chunk, which has 12 bytes.
        return image[:-12] + png_chunk(b"tEXt", b"Comment\0" + text) + image[-12:]
    return image[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + image[2:]


class Test(CommandTest):
    def __init__(self, program, folder):
        super().__init__(program, folder)
        self.processes, self.number = [], 0

    def start_servers(self):
        query = f"SELECT encode(image['bytes'], 'hex') AS image FROM '{DIGITS}/train.parquet'"
        rows = self.run("sql", "--format", "json", query)
        self.digits = [bytes.fromhex(json.loads(row)["image"]) for row in rows.splitlines()]
        self.jpeg = (PHOTOS / "progressive.jpg").read_bytes()

    def end_of_check(self):
        # Also those that a check that failed left behind, and workers that were stopped.
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()

    def start(self, *arguments, **options):
        client = super().start(*arguments, **options)
        self.processes.append(client)
        return client

    # Data.

    def pictures(self, name, count):
        """So many files that are nowhere else, by name. The last are JPEG."""
        files = {}
        for row in range(count):
            is_jpeg = row >= count - 3
            image = self.jpeg if is_jpeg else self.digits[row % len(self.digits)]
            files[f"{row:04}.{'jpg' if is_jpeg else 'png'}"] = with_comment(image, f"{name} {row}")
        return files

    def tar(self, place, files):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(place, "w") as archive:
            for name, contents in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(contents)
                archive.addfile(entry, io.BytesIO(contents))
        return place

    def parquet(self, sources, order=""):
        """Writes files of the columns `image` and `path`, each with one row group. An order is noted in the file."""
        statements = []
        for place, files in sources.items():
            archive = self.tar(self.path("to-parquet") / f"{len(statements)}.tar", files)
            place.parent.mkdir(parents=True, exist_ok=True)
            statements.append(f"COPY (SELECT image, path FROM '{archive}'{order}) TO '{place}'")
        self.run("sql", "--quiet", ";".join(statements))
        shutil.rmtree(self.path("to-parquet"))

    def several(self, name, files, parts=FILES):
        """The same rows as the files of a folder."""
        names = list(files)
        share = -(-len(names) // parts)
        return {self.path(name) / f"{part}.parquet": {one: files[one] for one in names[part * share:(part + 1) * share]}
                for part in range(parts)}

    def many(self):
        """Enough rows to be disturbed, as a folder of files."""
        place = self.path("many")
        if not place.exists():
            numbers = range(MANY_FILES)
            self.parquet({place / f"{part}.parquet": self.pictures(f"many {part}", MANY_ROWS) for part in numbers})
        return place

    def undisturbed(self):
        """What one machine makes of them."""
        place = self.path("undisturbed")
        if not place.exists():
            self.score(self.many(), f"{place}/")
        return place

    def with_broken(self):
        """Files of which the second has two broken images, in its rows 10 and 20 from 0."""
        place = self.path("broken")
        if not place.exists():
            sources = {place / f"{part}.parquet": self.pictures(f"broken {part}", 100) for part in range(3)}
            sources[place / "1.parquet"] |= {"0010.png": b"<html>404 Not Found</html>", "0020.png": self.digits[0][:60]}
            self.parquet(sources)
        return place

    # Clusters and clients.

    def worker(self, *more, model=True, allow=True, **options):
        self.number += 1
        flags = [*(["--model", f"m={MODEL}"] if model else []), *(["--allow", self.folder] if allow else []), *more]
        return Worker(self, f"worker-{self.number}", flags, **options)

    def workers(self, count, *more, **options):
        return Workers([self.worker(*more, **options) for _ in range(count)])

    def sql(self, query, *more, model=MODEL, **options):
        return self.run("sql", "--quiet", "--format", "csv", "--model", f"m={model}", query, *more, **options)

    def start_sql(self, cluster):
        """A query that takes its time, and begins to."""
        query = LONG.format(t=f"'{self.many()}'")
        client = self.start("sql", "--quiet", "--format", "csv", "--model", f"m={MODEL}", query, *cluster.flags)
        self.begun(client, cluster, 100)
        return client

    def start_score(self, cluster, out, images=300):
        client = self.start("score", self.many(), "--model", MODEL, "--out", f"{out}/", *cluster.flags)
        self.begun(client, cluster, images)
        return client

    def begun(self, client, cluster, images):
        def begun(worker):
            return worker.decoded > images or client.poll() is not None

        for worker in cluster:
            self.until("a worker that decodes", lambda worker=worker: begun(worker))
        if client.poll() is not None:
            out, err = client.communicate()
            raise AssertionError(f"the client ended early with {client.returncode}: {out}{err}")

    def until(self, what, condition, seconds=PATIENCE):
        """Waits for a condition. Returns what it gives."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if value := condition():
                    return value
            self.check(time.monotonic() < end, f"{what}: not within {seconds} s")
            time.sleep(0.02)

    def ended(self, client, seconds=PATIENCE):
        """Output of a client that ends on its own, and how long that took."""
        begun = time.monotonic()
        try:
            out, err = client.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            client.kill()
            out, err = client.communicate()
            raise AssertionError(f"it has not ended after {seconds} s: {out}{err}") from None
        return out, err, time.monotonic() - begun

    def fails(self, client, code, says, seconds):
        out, err, took = self.ended(client, seconds)
        self.check(client.returncode == code, f"exit code {client.returncode}, not {code}: {out}{err}")
        for text in says:
            self.check(text in err, f"nothing about {text!r}: {err}")
        return f"after {took:.1f} s"

    def finishes(self, client, out, says=(), compare=True):
        """A disturbed run ends as if nothing had been."""
        text, err, took = self.ended(client, 5 * PATIENCE)
        self.check(client.returncode == 0, f"exit code {client.returncode}: {text}{err}")
        for one in says:
            self.check(one in err, f"nothing about {one!r}: {err}")
        if compare:
            self.same_folders(out, self.undisturbed())
        return f"{took:.1f} s after the fault"

    def same_folders(self, one, other):
        """The same files with the same bytes, and nothing else."""
        one, other = ({path.name: path.read_bytes() for path in Path(folder).iterdir()} for folder in (one, other))
        for name in other:
            self.check(name in one, f"{name} is missing; there are {sorted(one)}")
            self.check(one[name] == other[name], f"{name} has other bytes than on one machine")
        left = sorted(set(one) - set(other))
        self.check(not left, f"all parts have their bytes, but there was left behind: {left}")

    def at_rest(self, cluster, seconds):
        """Soon nothing is decoded any more, and nothing is said to run."""
        begun, decoded, last = time.monotonic(), cluster.decoded, 0
        while (now := time.monotonic() - begun) < seconds and cluster.running:
            if (count := cluster.decoded) != decoded:
                decoded, last = count, now
            time.sleep(0.02)
        # What is in the network when the query ends may come out of it.
        time.sleep(1)
        decoded = cluster.decoded
        time.sleep(1)
        more, running = cluster.decoded - decoded, cluster.running
        seen = f"last image after {last:.1f} s"
        self.check(not more and not running,
                   f"after {now:.1f} s: {running:.0f} tasks run, {more:.0f} images decoded in a second, {seen}")
        return f"workers at rest after {now:.1f} s, {seen}"

    # Each of these is one check.

    def test_sql_on_one_file(self):
        self.queries("one", lambda name, files: (self.path(f"{name}.parquet"), {self.path(f"{name}.parquet"): files}))

    def test_sql_on_several_files(self):
        self.queries("several", lambda name, files: (self.path(name), self.several(name, files)))

    def test_sql_on_sorted_files(self):
        """Files that say that they are sorted, as DataFusion writes the result of an ORDER BY."""
        self.queries("sorted", lambda name, files: (self.path(name), self.several(name, files)), FEWER,
                     order=" ORDER BY path")

    def test_sql_on_a_folder_of_images(self):
        def folder(name, files):
            self.path(name).mkdir()
            for one, contents in files.items():
                (self.path(name) / one).write_bytes(contents)
            return self.path(name), {}

        self.queries("folder", folder, FEWER)

    def test_sql_on_a_tar_file(self):
        self.queries("tar", lambda name, files: (self.tar(self.path(f"{name}.tar"), files), {}), FEWER, divided=False)

    def queries(self, kind, write, names=None, divided=True, order=""):
        """All shapes of queries on 2 and on 4 workers. Each has its own images: what was scored once is found again."""
        cases, sources = [], {}
        for number, (name, query, suffix) in enumerate(SHAPES):
            if names is None or name in names:
                files = self.pictures(f"{kind} {number}", ROWS)
                place, more = write(f"{kind}-{number}", files)
                sources |= more
                cases.append((name, query.format(t=f"'{place}'"), suffix, files))
        if sources:
            self.parquet(sources, order)
        alone = [self.sql(query) for _, query, _, _ in cases]
        wrong = []
        for count in (2, 4):
            with self.workers(count) as cluster:
                for (name, query, suffix, files), expected in zip(cases, alone, strict=True):
                    before = [worker.decoded for worker in cluster]
                    try:
                        rows = self.sql(query, *cluster.flags)
                    except AssertionError as error:
                        wrong.append(f"{name} on {count} workers: {error}")
                        continue
                    each = [worker.decoded - other for worker, other in zip(cluster, before, strict=True)]
                    if not self.same_rows(query, rows, expected):
                        wrong.append(f"{name} on {count} workers: other rows than on one machine\n{rows}\n{expected}")
                    wanted, what = self.wanted(name, suffix, files), f"{name} on {count} workers: {each} images decoded"
                    if sum(each) not in wanted:
                        wrong.append(f"{what}, not {wanted[0]} to {wanted[-1]}")
                    if divided and suffix == "" and not all(each):
                        wrong.append(f"{what}: not by all workers")
        self.check(not wrong, f"{len(wrong)} faults in {2 * len(cases)} queries:\n" + "\n".join(wrong))
        return f"{len(cases)} queries on 2 and on 4 workers"

    def same_rows(self, query, rows, expected):
        if "ORDER BY" in query:
            return rows == expected
        return sorted(rows.splitlines()) == sorted(expected.splitlines())

    def wanted(self, name, suffix, files):
        """How many images the workers may decode."""
        if suffix is not None:
            count = sum(one.endswith(suffix) for one in files)
            return range(count, count + 1)
        # What both sides of a self-join read, workers that have both sides score once. An inner join's rows are scored
        # before or after it, as the plan says.
        return {"count of rows": range(1), "self-join": range(ROWS, 2 * ROWS + 1), "join": range(ROWS + 1)}[name]

    def test_relative_names(self):
        sources = {self.path("relative.parquet"): self.pictures("relative", ROWS)}
        self.parquet(sources)
        with self.workers(2) as cluster:
            query = LONG.format(t="'relative.parquet'")
            expected = self.sql(query, cwd=self.folder)
            self.check(self.sql(query, *cluster.flags, cwd=self.folder) == expected, "other rows")
            for out, flags in [("relative-alone/", []), ("relative-cluster/", cluster.flags)]:
                self.score("relative.parquet", out, *flags, cwd=self.folder)
        self.same_folders(self.path("relative-alone"), self.path("relative-cluster"))

    def test_explain(self):
        place = self.path("explain")
        self.parquet(self.several("explain", self.pictures("explain", ROWS) | {"0000.png": b"no image"}))
        query = LONG.format(t=f"'{place}'")

        def explained(query, cluster):
            rows = self.run("sql", "--quiet", "--format", "json", "--model", f"m={MODEL}", query, *cluster.flags)
            return "\n".join(json.loads(row)["plan"] for row in rows.splitlines())

        with self.workers(2) as cluster:
            plan = explained(f"EXPLAIN {query}", cluster)
            for text in ["Stage 1", "tasks=2", "network: stage 1 sends", "ScoreExec"]:
                self.check(text in plan, f"EXPLAIN has no {text!r}: {plan}")
            for text in ["images among them", "warning:", "scoring: on this machine"]:
                self.check(text not in plan, f"EXPLAIN has {text!r}: {plan}")
            self.check(cluster.decoded == 0, "EXPLAIN decoded images")
            sent = explained(f"EXPLAIN SELECT path, image FROM '{place}' WHERE dismax_is_ood(image)", cluster)
            self.check('images among them: "image"' in sent, f"nothing about images that are sent: {sent}")
            late = f"SELECT dismax_prediction(image) FROM (SELECT DISTINCT image FROM '{place}')"
            plan = explained(f"EXPLAIN {late}", cluster)
            self.check("warning: images cross the network before they are scored" in plan, f"no warning: {plan}")
            plan = explained(f"EXPLAIN ANALYZE {query}", cluster)
            scored = [line for line in plan.splitlines() if "ScoreExec" in line and "{0:" in line]
            self.check(len(scored) == 1, f"not one line of each worker's scoring: {plan}")
            for name in ["images", "errors", "decode_time", "network_time"]:
                of_each = rf"\b{name}=\{{0:[^{{}}]+, 1:[^{{}}]+\}}"
                self.check(re.search(of_each, scored[0]), f"no {name} of each: {scored[0]}")
            images = re.search(r"\bimages=\{0:(\d+), 1:(\d+)\}", scored[0])
            errors = re.search(r"\berrors=\{0:(\d+), 1:(\d+)\}", scored[0])
            self.check(sum(map(int, images.groups())) == ROWS, f"not {ROWS} images: {scored[0]}")
            self.check(sum(map(int, errors.groups())) == 1, f"not one error: {scored[0]}")

    def test_score_into_a_folder(self):
        inputs = self.path("inputs")
        for count in (2, 4):
            shutil.rmtree(inputs, ignore_errors=True)
            sources = {inputs / f"{part}.parquet": self.pictures(f"score {part}", 300) for part in range(6)}
            sources[inputs / "3.parquet"]["0007.png"] = b"no image"
            self.parquet(sources)
            alone, out = self.path(f"alone-{count}"), self.path(f"out-{count}")
            self.score(inputs, f"{alone}/", says="6 written")
            with self.workers(count) as cluster:
                self.score(inputs, f"{out}/", *cluster.flags, says="6 written, 0 whole already")
                self.check(cluster.decoded == 1800, f"{cluster.decoded:.0f} images decoded, not 1800")
                self.same_folders(out, alone)
                self.score(inputs, f"{out}/", *cluster.flags, says="0 written, 6 whole already")
                self.check(cluster.decoded == 1800, "a second run decoded images")
                self.parquet({inputs / "6.parquet": self.pictures("score 6", 50)})
                self.score(inputs, f"{out}/", *cluster.flags, says="1 written, 6 whole already")
                self.score(inputs, f"{alone}/", says="1 written")
                self.same_folders(out, alone)
                # One machine takes over what a cluster began, and the other way round.
                self.score(inputs, f"{out}/", says="0 written, 7 whole already")
                self.score(inputs, f"{out}/", "--alpha", "0.2", *cluster.flags, code=3, says="its alpha is")
                options = ["--alpha", "0.2", "--prefix", "x_", "--force"]
                self.score(inputs, f"{out}/", *options, *cluster.flags, says="7 written")
                self.score(inputs, f"{alone}/", *options, says="7 written")
                self.same_folders(out, alone)

    def test_files_filters_and_audits(self):
        """What the coordinator writes, of rows that workers scored."""
        inputs = self.path("together")
        sources = {inputs / f"{part}.parquet": self.pictures(f"together {part}", 200) for part in range(3)}
        sources[inputs / "1.parquet"]["0007.png"] = b"no image"
        self.parquet(sources)
        with self.workers(2) as cluster:
            def both(name, *command):
                for flags, kind in [((), "alone"), (cluster.flags, "cluster")]:
                    self.run(*command, "--model", MODEL, "--out", self.path(f"{name}-{kind}.parquet"), *flags)
                alone, other = (self.path(f"{name}-{kind}.parquet") for kind in ("alone", "cluster"))
                if command[0] == "audit":
                    self.check((alone / "findings.parquet").read_bytes() == (other / "findings.parquet").read_bytes(),
                               "other findings than on one machine")
                    return
                # Where pages end depends on how rows were read.
                rows = [self.run("sql", "--quiet", "--format", "json", f"SELECT * FROM '{file}'") for file in (alone, other)]
                self.check(rows[0] == rows[1] and rows[0], f"{name}: other rows than on one machine")

            both("file", "score", inputs)
            both("kept", "filter", inputs, "--keep", "ood")
            both("few", "filter", inputs, "--keep", "in-dist", "--where", "path < '0100.png' AND dismax_confidence > 0.3",
                 "--prefix", "dismax_", "--columns")
            both("fdr", "filter", inputs, "--keep", "ood", "--fdr", "0.2")
            both("audit", "audit", inputs)
            self.check(all(worker.decoded for worker in cluster), "not by all workers")

    def test_score_images_and_tar_files(self):
        images = self.path("score-images")
        images.mkdir()
        files = self.pictures("images", 60)
        for name, contents in files.items():
            (images / name).write_bytes(contents)
        tars = self.path("score-tars")
        for number in range(3):
            self.tar(tars / f"{number}.tar", self.pictures(f"tar {number}", 40))
        with self.workers(2) as cluster:
            for place in (images, tars):
                self.score(place, f"{place}-alone/")
                self.score(place, f"{place}-cluster/", *cluster.flags)
                self.same_folders(f"{place}-cluster", f"{place}-alone")

    def start_seaweed(self):
        if not self.seaweed:
            self.path("seaweed").mkdir()
            self.seaweed = Seaweed(seaweed_program(), self.path("seaweed"))
            self.seaweed.start()

    def test_s3(self):
        self.start_seaweed()
        local, prefix = self.path("s3"), f"s3://{BUCKET}"
        self.parquet({local / f"{part}.parquet": self.pictures(f"s3 {part}", 200) for part in range(5)})
        for place in local.iterdir():
            self.seaweed.put(f"/buckets/{BUCKET}/in/{place.name}", place.read_bytes())
        for name in ("0.parquet", "1.parquet"):
            self.seaweed.put(f"/buckets/{BUCKET}/other/{name}", (local / name).read_bytes())
        self.score(f"{prefix}/in/*.parquet", f"{prefix}/alone/")
        for count in (2, 4):
            with self.workers(count, "--allow", f"{prefix}/in", "--allow", f"{prefix}/out", allow=False) as cluster:
                query = LONG.format(t=f"'{prefix}/in/*.parquet'")
                expected = self.sql(LONG.format(t=f"'{local}'"))
                self.check(self.sql(query, *cluster.flags) == expected, "sql over s3:// gives other rows")
                self.check(all(worker.decoded for worker in cluster), "a worker had no images")
                target = f"{prefix}/out/{count}/"
                self.score(f"{prefix}/in/*.parquet", target, *cluster.flags, says="5 written, 0 whole already")
                self.score(f"{prefix}/in/*.parquet", target, *cluster.flags, says="0 written, 5 whole already")
                names = self.seaweed.names(f"/buckets/{BUCKET}/alone/")
                self.check(self.seaweed.names(f"/buckets/{BUCKET}/out/{count}/") == names, f"other parts than {names}")
                for name in names:
                    alone = self.seaweed.get(f"/buckets/{BUCKET}/alone/{name}")
                    part = self.seaweed.get(f"/buckets/{BUCKET}/out/{count}/{name}")
                    self.check(part == alone, f"{name} has other bytes than on one machine")
                refused, other = "this worker was not allowed to open it", f"{prefix}/other"
                self.sql(LONG.format(t=f"'{other}/*.parquet'"), *cluster.flags, code=3, says=[refused, other])
                self.score(f"{other}/*.parquet", f"{prefix}/out/x/", *cluster.flags, code=3, says=[refused, other])
                self.score(f"{prefix}/in/*.parquet", f"{other}/x/", *cluster.flags, code=3, says=[refused, other])

    def test_a_worker_killed_in_a_query(self):
        with self.workers(2) as cluster:
            client, victim = self.start_sql(cluster), cluster[1]
            victim.kill()
            note = self.fails(client, 3, [victim.address], 10)
            left = Workers(cluster[:1])
            self.at_rest(left, 10)
            query = LONG.format(t=f"'{self.with_broken()}'")
            rows = self.run("sql", "--format", "csv", "--model", f"m={MODEL}", query, *cluster.flags,
                            says=f"worker {victim.address} is left out")
            self.check(rows == self.sql(query), "the worker that is left gives other rows")
            return note

    def test_a_worker_killed_in_a_run(self):
        out = self.path("killed")
        with self.workers(2) as cluster:
            client, victim = self.start_score(cluster, out), cluster[1]
            victim.kill()
            return self.finishes(client, out, [victim.address])

    def test_a_worker_that_comes_back(self):
        out = self.path("back")
        with self.workers(2) as cluster:
            client, victim = self.start_score(cluster, out), cluster[1]
            victim.kill()
            cluster[1] = self.worker(port=victim.port)
            note = self.finishes(client, out, [f"worker {victim.address} takes part again"])
            self.check(cluster[1].decoded > 0, "it is not used again")
            return note

    def test_all_workers_killed(self):
        out = self.path("all")
        with self.workers(2) as cluster:
            client = self.start_score(cluster, out)
            for worker in cluster:
                worker.kill()
            time.sleep(3)
            self.check(client.poll() is None, "the run did not wait")
            cluster[:] = [self.worker(port=worker.port) for worker in cluster]
            return self.finishes(client, out)

    def test_a_worker_that_hangs_in_a_query(self):
        with self.workers(2) as cluster:
            client, victim = self.start_sql(cluster), cluster[1]
            victim.signal(signal.SIGSTOP)
            return self.fails(client, 3, [victim.address], 15)

    def test_a_worker_that_hangs_in_a_run(self):
        out = self.path("hung")
        with self.workers(2) as cluster:
            client, victim = self.start_score(cluster, out), cluster[1]
            victim.signal(signal.SIGSTOP)
            note = self.finishes(client, out, [victim.address], compare=False)
            # What it does when it wakes up must change nothing.
            victim.signal(signal.SIGCONT)
            self.at_rest(cluster, 30)
            self.same_folders(out, self.undisturbed())
            return note

    def test_a_worker_that_ends(self):
        """SIGTERM in the middle of parts: what runs is finished or handed back."""
        out = self.path("ended")
        with self.workers(2) as cluster:
            client, victim = self.start_score(cluster, out), cluster[1]
            self.check(victim.page("/readyz") == (200, "ready\n"), "not ready while it works")
            victim.signal(signal.SIGTERM)
            begun = time.monotonic()
            answers = set()
            while victim.process.poll() is None:
                with contextlib.suppress(OSError):
                    answers.add(victim.page("/readyz"))
                self.check(time.monotonic() < begun + 60, "it has not ended 60 s after SIGTERM")
                time.sleep(0.02)
            took = time.monotonic() - begun
            self.check(victim.process.returncode == 0, f"exit code {victim.process.returncode}: {victim.log()}")
            note = self.finishes(client, out)
            self.check((503, "ending\n") in answers, f"/readyz said {answers}, not 503, in {took:.1f} s")
            return f"the worker after {took:.1f} s, the run {note}"

    def test_a_worker_that_ends_without_work(self):
        with self.workers(1) as cluster:
            cluster[0].signal(signal.SIGTERM)
            begun = time.monotonic()
            cluster[0].process.wait(timeout=10)
            self.check(cluster[0].process.returncode == 0, f"exit code {cluster[0].process.returncode}")
            return f"after {time.monotonic() - begun:.1f} s"

    def test_nobody_answers(self):
        with self.workers(1) as cluster:
            flags, address = cluster.flags, cluster[0].address
        says = ["no worker can take part", address]
        self.sql("SELECT 1", *flags, code=3, says=says)
        self.score(self.with_broken(), f"{self.path('nobody')}/", *flags, code=3, says=says)
        self.sql("SELECT 1", "--cluster", "localhost", code=2, says="is no address of a worker")

    def token_files(self):
        for name, token in [("token", TOKEN), ("other-token", OTHER_TOKEN), ("short-token", "short")]:
            self.path(name).write_text(f"{token}\n")
        return [self.path(name) for name in ("token", "other-token", "short-token")]

    def test_tokens(self):
        right, wrong, short = self.token_files()
        place = self.path("named-nowhere")
        self.parquet(self.several("named-nowhere", self.pictures("tokens", 40)))
        query = LONG.format(t=f"'{place}'")
        with self.workers(2, "--token-file", right, token=TOKEN) as cluster:
            for flags in ([], ["--token-file", wrong]):
                says = ["the token is missing or wrong", cluster[0].address]
                self.sql(query, *flags, *cluster.flags, code=3, says=says)
                self.score(place, f"{self.path('tokens')}/", *flags, *cluster.flags, code=3, says=says)
            self.sql(query, "--token-file", short, *cluster.flags, code=2, says="is no token of at least 16")
            for worker in cluster:
                for token in (None, OTHER_TOKEN):
                    status, text = worker.page("/metrics", token)
                    self.check((status, text) == (401, "the token is missing or wrong\n"), f"/metrics: {status} {text}")
                    self.check(worker.page("/anything", token)[0] == 401, "pages that are not there look otherwise")
                self.check(worker.page("/metrics", TOKEN)[0] == 200, "/metrics with the token")
                self.check(worker.page("/healthz") == (200, "alive\n"), "/healthz")
                self.check(worker.page("/readyz") == (200, "ready\n"), "/readyz")
                self.check(worker.counts()["tasks_total"] == 0, "a client without the token was given work")
            rows = self.sql(query, "--token-file", right, *cluster.flags)
            self.check(rows == self.sql(query), "other rows with the token")
            self.sql(query, *cluster.flags, DISMAX_TOKEN_FILE=right)
            for worker in cluster:
                for secret in (TOKEN, OTHER_TOKEN):
                    self.check(secret not in worker.log(), "a token is in a log")
            # A worker of another secret is left out.
            with self.workers(1, "--token-file", wrong, token=OTHER_TOKEN) as others:
                both = ["--cluster", f"{cluster[0].address},{others[0].address}", "--token-file", right]
                self.run("sql", "--model", f"m={MODEL}", query, *both,
                         says=f"worker {others[0].address} is left out: the token is missing or wrong")

    def test_who_may_listen(self):
        right, _, _ = self.token_files()
        for flags in ([], ["--token-file", right]):
            everybody = ["worker", "--listen", "0.0.0.0:0", "--model", MODEL]
            self.run(*everybody, *flags, code=2, says="needs a token and a certificate")
        for command in (["sql", "SELECT 1"], ["score", self.with_broken(), "--out", f"{self.path('plain')}/"]):
            self.run(*command, "--model", MODEL, "--cluster", "http://192.0.2.1:7070", "--token-file", right, code=2,
                     says=["192.0.2.1", "the token would travel for all to read"])
        self.run("worker", "--listen", "127.0.0.1:0", code=2, says="give --model, --model-store or both")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def key(self, name, *more):
        """A new key, and a request for a certificate or one that vouches for itself."""
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"]
        self.openssl("req", *kind, "-keyout", self.path(f"{name}.key"), *more)

    def test_tls(self):
        mine, other = self.path("authority.pem"), self.path("somebody.pem")
        self.key("authority", "-x509", "-days", "2", "-out", mine)
        self.key("somebody", "-x509", "-days", "2", "-out", other)
        self.key("worker", "-out", self.path("worker.csr"))
        self.path("names").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        self.openssl("x509", "-req", "-in", self.path("worker.csr"), "-CA", mine, "-CAkey", self.path("authority.key"),
                     "-days", "2", "-CAcreateserial", "-extfile", self.path("names"), "-out", self.path("worker.pem"))
        right, _, _ = self.token_files()
        shown = ["--tls-cert", self.path("worker.pem"), "--tls-key", self.path("worker.key")]
        place = self.with_broken()
        query = LONG.format(t=f"'{place}'")
        with self.workers(2, *shown, "--tls-ca", mine, "--token-file", right, token=TOKEN, authority=mine) as cluster:
            self.check(cluster[0].address.startswith("https://"), cluster[0].address)
            flags = [*cluster.flags, "--token-file", right]
            self.check(self.sql(query, *flags, "--tls-ca", mine) == self.sql(query), "other rows")
            self.check(all(worker.decoded for worker in cluster), "a worker had no images")
            self.sql(query, *flags, DISMAX_TLS_CA=mine)
            self.score(place, f"{self.path('tls')}/", *flags, "--tls-ca", mine, says="3 written")
            self.sql(query, *flags, code=2, says="name the certificates that vouch for it")
            self.sql(query, *flags, "--tls-ca", other, code=3, says=[cluster[0].address, "certificate"])
            plain = [str(flag).replace("https://", "http://") for flag in flags]
            self.sql(query, *plain, code=3, says="no worker can take part")
            self.check(cluster[0].page("/metrics", TOKEN)[0] == 200, "/metrics")

    def another_model(self, place, alter=lambda folder: None):
        """A copy of the model with other words, and so with another digest."""
        shutil.copytree(MODEL, place)
        readme, sums = place / "README.md", place / "SHA256SUMS"
        before = hashlib.sha256(readme.read_bytes()).hexdigest()
        readme.write_text(readme.read_text() + f"\n{place.name}\n")
        sums.write_text(sums.read_text().replace(before, hashlib.sha256(readme.read_bytes()).hexdigest()))
        alter(place)
        return place

    def test_models(self):
        digest = json.loads(self.run("info", "--json", MODEL))["digest"]
        other = self.another_model(self.path("other-model"))
        query = LONG.format(t=f"'{self.with_broken()}'")
        expected = self.sql(query)

        def store(name, fill):
            place = self.path(name) / digest
            place.parent.mkdir()
            fill(place)
            return ["--model-store", place.parent]

        def damaged(file, alter):
            def fill(place):
                shutil.copytree(MODEL, place)
                contents = (place / file).read_bytes()
                (place / file).write_bytes(alter(contents))
            return fill

        def altered(contents):
            return contents[:-100] + bytes(byte ^ 1 for byte in contents[-100:])

        good = store("store", lambda place: shutil.copytree(MODEL, place))
        takes_part = [
            ("a store", good),
            ("a store beside another model", [*good, "--model", f"m={other}"]),
        ]
        left_out = [
            ("another model", ["--model", f"m={other}"], "its model 'm' is another one"),
            ("no such model", ["--model", f"n={other}"], "it has no model 'm'"),
            ("an empty store", store("empty", lambda place: None), digest),
            ("altered weights", store("weights", damaged("model.safetensors", altered)), "model.safetensors"),
            ("damaged sums", store("sums", damaged("SHA256SUMS", lambda text: text[:100] + b"\n")), "SHA256SUMS"),
            ("another model in the store", store("wrong", self.another_model), "holds another model"),
        ]
        for name, flags in takes_part:
            with Workers([self.worker(), self.worker(*flags, model=False)]) as cluster:
                self.check(self.sql(query, *cluster.flags) == expected, f"{name}: other rows")
                self.check(all(worker.decoded for worker in cluster), f"{name}: a worker had no images")
        wrong = []
        for number, (name, flags, reason) in enumerate(left_out):
            with Workers([self.worker(), self.worker(*flags, model=False)]) as cluster:
                out = f"{self.path(f'models-{number}')}/"
                commands = [["sql", "--format", "csv", "--model", f"m={MODEL}", query],
                            ["score", self.with_broken(), "--model", MODEL, "--out", out]]
                for command in commands:
                    client = self.start(*command, *cluster.flags)
                    text, err, _ = self.ended(client)
                    what = f"{name}: {command[0]}: {client.returncode}: {text}{err}"
                    if command[0] == "score":
                        # It knows the model by its folder alone, so that no worker has another one of the same name.
                        reason = reason.replace("its model 'm' is another one", "it has no model").replace(" 'm'", "")
                    if client.returncode != 0 or (command[0] == "sql" and text != expected):
                        wrong.append(f"not as on one machine: {what}")
                    elif f"worker {cluster[1].address} is left out" not in err or reason not in err:
                        wrong.append(f"it is not said why the worker is left out ({reason}): {what}")
                if cluster[1].decoded:
                    wrong.append(f"{name}: a worker scored that should be left out")
        with Workers([self.worker("--model", f"n={other}", model=False)]) as cluster:
            self.sql(query, *cluster.flags, code=3, says=["no worker can take part", cluster[0].address, "'m'"])
        self.check(not wrong, "\n".join(wrong))

    def test_a_store_of_models_on_s3(self):
        self.start_seaweed()
        digest = json.loads(self.run("info", "--json", MODEL))["digest"]
        for file in MODEL.iterdir():
            self.seaweed.put(f"/buckets/{BUCKET}/models/{digest}/{file.name}", file.read_bytes())
        query = LONG.format(t=f"'{self.with_broken()}'")
        with self.workers(2, "--model-store", f"s3://{BUCKET}/models", model=False) as cluster:
            self.check(self.sql(query, *cluster.flags) == self.sql(query), "other rows")
            self.check(all(worker.decoded for worker in cluster), "a worker had no images")

    def test_places_that_are_not_allowed(self):
        inside, outside = self.path("inside"), self.path("outside")
        self.parquet({place / "0.parquet": self.pictures(place.name, 40) for place in (inside, outside)})
        self.parquet({place / "1.parquet": self.pictures(f"{place.name} 1", 40) for place in (inside, outside)})
        (inside / "link").symlink_to(outside)
        refused = "this worker was not allowed to open it"
        with self.workers(2, "--allow", inside, allow=False) as cluster:
            self.sql(LONG.format(t=f"'{inside}/*.parquet'"), *cluster.flags)
            self.score(f"{inside}/*.parquet", f"{inside}/scored/", *cluster.flags, says="2 written")
            decoded = cluster.decoded
            for place in (outside, inside / "link", f"{inside}/../outside"):
                names = [refused, "outside/" if place == outside else ".parquet"]
                self.sql(LONG.format(t=f"'{place}/*.parquet'"), *cluster.flags, code=3, says=names)
                self.score(f"{place}/*.parquet", f"{inside}/more/", *cluster.flags, code=3, says=names)
                self.score(f"{inside}/*.parquet", f"{place}/out/", *cluster.flags, code=3, says=[refused, "out/"])
            self.check(cluster.decoded == decoded, "images from elsewhere were decoded")

    def test_a_full_disk_on_one_worker(self):
        """A worker that may write small files only, which to it looks as if there were no more room."""
        out = self.path("full")
        size = min(path.stat().st_size for path in self.undisturbed().glob("*.parquet"))
        with Workers([self.worker(), self.worker(largest_file=size // 2)]) as cluster:
            client = self.start_score(cluster, out)
            return self.finishes(client, out, [cluster[1].address, "File too large"])

    def test_broken_images(self):
        place = self.with_broken()
        query = f"SELECT path, dismax_prediction(image), dismax_error(image) FROM '{place}' ORDER BY path, 2, 3"
        with self.workers(2) as cluster:
            rows = self.sql(query, *cluster.flags)
            self.check(rows == self.sql(query), "other rows than on one machine")
            self.check(rows.count("unknown_format") == 1, f"not one broken image of an unknown format:\n{rows}")
            self.score(place, f"{self.path('broken-alone')}/")
            lines = [line for worker in cluster for line in worker.counts().items() if line[0].startswith("row_errors")]
            codes = [re.search(r'code="(\w+)"', name)[1] for name, _ in lines]
            total = sum(count for _, count in lines)
            self.check(total == 2 and "unknown_format" in codes, f"errors in the metrics: {lines}")
            self.score(place, f"{self.path('broken-cluster')}/", *cluster.flags)
            self.same_folders(self.path("broken-cluster"), self.path("broken-alone"))

    def test_limits_of_errors(self):
        place = self.with_broken()
        with self.workers(2) as cluster:
            said = {}
            for name, flags in [("alone", []), ("cluster", cluster.flags)]:
                out = self.path(f"fail-{name}")
                client = self.start("score", place, "--model", MODEL, "--out", f"{out}/", "--on-error", "fail", *flags)
                _, err, _ = self.ended(client)
                self.check(client.returncode == 3, f"{name}: exit code {client.returncode}: {err}")
                self.check("1.parquet" in err and "row 10" in err, f"{name}: not the file and the row: {err}")
                said[name] = err
                self.check(not (out / "1.parquet").exists(), f"{name}: the part was written")
                limit = ["--max-errors", "1"]
                self.score(place, f"{self.path(f'limit-{name}')}/", *limit, *flags, code=4)
                self.score(place, f"{self.path(f'in-limit-{name}')}/", "--max-errors", "2", *flags)
            self.same_folders(self.path("in-limit-alone"), self.path("in-limit-cluster"))

    def interrupted(self, start, number, code):
        with self.workers(2) as cluster:
            client = start(cluster)
            client.send_signal(number)
            note = self.at_rest(cluster, 3)
            self.ended(client, 10)
            self.check(client.returncode == code, f"exit code {client.returncode}")
            return note

    def test_an_interrupted_query(self):
        return self.interrupted(self.start_sql, signal.SIGINT, 130)

    def test_an_interrupted_run(self):
        out = self.path("interrupted")
        note = self.interrupted(lambda cluster: self.start_score(cluster, out), signal.SIGINT, 130)
        left = {path.name for path in out.iterdir()} if out.exists() else set()
        self.check(left <= {path.name for path in self.undisturbed().iterdir()}, f"left behind: {left}")
        with self.workers(2) as cluster:
            self.score(self.many(), f"{out}/", *cluster.flags)
        self.same_folders(out, self.undisturbed())
        return note

    def test_a_coordinator_killed_in_a_query(self):
        return self.interrupted(self.start_sql, signal.SIGKILL, -signal.SIGKILL)

    def test_a_coordinator_killed_in_a_run(self):
        out = self.path("coordinator")
        note = self.interrupted(lambda cluster: self.start_score(cluster, out), signal.SIGKILL, -signal.SIGKILL)
        with self.workers(2) as cluster:
            self.score(self.many(), f"{out}/", *cluster.flags)
        self.same_folders(out, self.undisturbed())
        return note

    def test_an_early_limit(self):
        with self.workers(2) as cluster:
            rows = self.sql(f"SELECT path, dismax_prediction(image) FROM '{self.many()}' LIMIT 5", *cluster.flags)
            self.check(len(rows.splitlines()) == 6, f"not 5 rows: {rows}")
            # What was under way when the rows were there.
            time.sleep(2)
            decoded, of = cluster.decoded, MANY_FILES * MANY_ROWS
            self.check(decoded < of / 10, f"{decoded:.0f} of {of} images were decoded for 5 rows")
            return f"{decoded:.0f} of {of} images decoded"

    def test_metrics_come_to_rest(self):
        """After queries and runs nothing is said to run."""
        query = LONG.format(t=f"'{self.with_broken()}'")
        with self.workers(2) as cluster:
            for _ in range(3):
                self.sql(query, *cluster.flags)
            self.score(self.with_broken(), f"{self.path('rest')}/", *cluster.flags)
            return self.at_rest(cluster, 5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dismax", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    run_tests(Test, arguments.dismax, arguments.only)


if __name__ == "__main__":
    main()
