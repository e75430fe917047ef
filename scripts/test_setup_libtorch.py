"""Tests of setup_libtorch.py against a small index on this machine."""

import contextlib
import hashlib
import http.server
import io
import json
import os
import tempfile
import threading
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import setup_libtorch as setup

HEADERS = {"torch/include/{}.h".format(i): b"// header %d\n" % i for i in range(20)}
MEMBERS = dict(
    HEADERS,
    **{
        "torch/lib/libc10.so": os.urandom(5000),
        "torch/lib/libtorch_cuda.so": os.urandom(3 * setup.GAP),
        "torch/lib/libtorch_cpu.so": os.urandom(200_000),
        "torch/lib/notes.txt": b"not a library",
        "nvidia/cu13/lib/libcudart.so.13": b"cudart",
    }
)
CPU_LIBRARIES = ["torch/lib/libc10.so", "torch/lib/libtorch_cpu.so"]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def wheel_bytes():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    return file.getvalue()


class Index(http.server.BaseHTTPRequestHandler):
    """Serves one wheel; the server's attributes say how well it behaves."""

    def do_GET(self):
        if self.path.startswith("/simple/"):
            return self.send_page()
        body, status = self.server.wheel, 200
        if self.headers.get("Range") and self.server.ranges:
            first, _, last = self.headers["Range"][len("bytes=") :].partition("-")
            body, status = body[int(first) : int(last or len(body)) + 1], 206
        self.server.sent.append(len(body))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.cut_after is not None and len(body) > self.server.cut_after:
            body, self.server.cut_after = body[: self.server.cut_after], None
        self.wfile.write(body)

    def send_page(self):
        file = {"filename": "torch-1.whl", "url": "../../files/torch-1.whl", "hashes": {"sha256": self.server.digest}}
        if self.server.json:
            kind, body = "application/vnd.pypi.simple.v1+json", json.dumps({"files": [file]})
        else:
            kind, body = "text/html", '<a href="{url}#sha256={hashes[sha256]}">{filename}</a>'.format(**file)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


class Setup(unittest.TestCase):
    def setUp(self):
        self.wheel = wheel_bytes()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
        self.server.wheel, self.server.digest, self.server.sent = self.wheel, sha256(self.wheel), []
        self.server.ranges, self.server.json, self.server.cut_after = True, True, None
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dest = Path(folder.name) / "libtorch"
        self.lock = Path(folder.name) / "lock.json"
        self.write_lock()
        address = "http://127.0.0.1:{}/simple/".format(self.server.server_port)
        environment = {"PIP_INDEX_URL": address, "no_proxy": "127.0.0.1", "PATH": os.environ.get("PATH", "")}
        for patch in (
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.object(setup, "LOCK", self.lock),
            mock.patch.object(setup, "CHUNK", 1 << 12),
            mock.patch.object(setup.time, "sleep"),
            mock.patch.object(setup.sys, "platform", "linux"),
            mock.patch.object(setup.platform, "machine", lambda: "x86_64"),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def write_lock(self, **changes):
        cpu = {
            "files": {name: sha256(MEMBERS[name]) for name in CPU_LIBRARIES},
            "trees": {"torch/include/": setup.tree_digest({n: sha256(d) for n, d in HEADERS.items()})},
        }
        wheel = {"project": "torch", "version": "1", "file": "torch-1.whl", "size": len(self.wheel)}
        wheel.update(sha256=sha256(self.wheel), cpu=cpu, cuda={"libraries": True})
        wheel.update(changes)
        self.lock.write_text(json.dumps({"libtorch": "1", "wheels": [wheel]}))

    def run_setup(self, *arguments):
        """What the script printed."""
        text = io.StringIO()
        with mock.patch.object(setup.sys, "argv", ["setup", "--dest", str(self.dest), *arguments]):
            with contextlib.redirect_stderr(text):
                try:
                    setup.main()
                except SystemExit as stop:
                    return text.getvalue() + str(stop.code)
        return text.getvalue()

    def assert_cpu_files(self):
        for name in CPU_LIBRARIES + list(HEADERS):
            self.assertEqual((self.dest / name).read_bytes(), MEMBERS[name], name)
        self.assertIn("INPUT", (self.dest / "torch/lib/libtorch.so").read_text())
        self.assertFalse((self.dest / "torch/lib/libtorch_cuda.so").exists())
        self.assertFalse((self.dest / "download").exists())

    def test_only_the_wanted_ranges_are_fetched(self):
        self.assertIn("libtorch 1 (CPU) is ready", self.run_setup("--cpu"))
        self.assert_cpu_files()
        self.assertLess(sum(self.server.sent), len(MEMBERS["torch/lib/libtorch_cuda.so"]))

    def test_a_second_run_fetches_nothing(self):
        self.run_setup("--cpu")
        self.server.sent.clear()
        self.assertIn("is ready", self.run_setup("--cpu"))
        self.assertEqual(self.server.sent, [])

    def test_a_cut_connection_goes_on_where_it_stopped(self):
        self.server.cut_after = 100_000
        self.assertIn("is ready", self.run_setup("--cpu"))
        self.assert_cpu_files()

    def test_an_interrupted_run_is_continued_by_the_next(self):
        with mock.patch.object(setup, "ATTEMPTS", 1):
            self.server.cut_after = 150_000
            self.assertIn("go on where it stopped", self.run_setup("--cpu"))
        self.server.sent.clear()
        self.assertIn("is ready", self.run_setup("--cpu"))
        self.assert_cpu_files()
        self.assertLess(max(self.server.sent), 100_000)

    def test_a_server_without_ranges_gives_the_whole_wheel(self):
        self.server.ranges, self.server.json = False, False
        self.assertIn("is ready", self.run_setup("--cpu"))
        self.assert_cpu_files()

    def test_cuda_libraries_lie_beside_the_folder_that_is_linked(self):
        self.assertIn("(CPU and CUDA)", self.run_setup("--cuda"))
        self.assert_cpu_files()
        for name in ("torch/lib-cuda/libtorch_cuda.so", "nvidia/cu13/lib/libcudart.so.13"):
            self.assertTrue((self.dest / name).exists(), name)
        self.assertFalse((self.dest / "torch/lib-cuda/notes.txt").exists())

    def test_a_file_that_differs_from_the_lock_is_refused(self):
        self.write_lock(cpu={"files": {CPU_LIBRARIES[0]: sha256(b"other")}})
        self.assertIn("libc10.so of torch-1.whl differ", self.run_setup("--cpu"))
        self.assertFalse((self.dest / "torch").exists())

    def test_damaged_bytes_are_refused_and_fetched_anew(self):
        at = self.wheel.index(MEMBERS["torch/lib/libtorch_cpu.so"][:64])
        self.server.wheel = self.wheel[:at] + b"damaged" + self.wheel[at + 7 :]
        self.assertIn("run the same command again", self.run_setup("--cpu"))
        self.server.wheel = self.wheel
        self.assertIn("is ready", self.run_setup("--cpu"))
        self.assert_cpu_files()

    def test_another_wheel_of_the_same_name_is_refused(self):
        self.server.digest = sha256(b"other")
        self.assertIn("another torch-1.whl than the pinned one", self.run_setup("--cpu"))

    def test_an_existing_libtorch_is_left_alone(self):
        with mock.patch.dict(os.environ, {"LIBTORCH": "/opt/libtorch"}):
            self.assertIn("LIBTORCH=/opt/libtorch is set", self.run_setup())
        self.assertFalse(self.dest.exists())

    def test_other_platforms_are_told_what_to_do(self):
        with mock.patch.object(setup.platform, "machine", lambda: "aarch64"):
            self.assertIn("set LIBTORCH", self.run_setup())


if __name__ == "__main__":
    unittest.main()
