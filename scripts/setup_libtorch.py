#!/usr/bin/env python3
"""Fetch the libtorch files that this project needs into .libtorch/.

    scripts/setup_libtorch.py            the CPU files; with an NVIDIA GPU in the machine the CUDA files too
    scripts/setup_libtorch.py --cuda     both, GPU or not (2.3 GB more)

libtorch comes out of the wheel of PyTorch, together with the small CUDA wheels that libtorch_cpu.so needs.
`libtorch.lock.json` beside this script pins the wheels and the SHA-256 of what is taken from them, so the
files are the same on every machine and do not depend on the local Python, which only runs this script.
Only the wanted byte ranges of a wheel are downloaded where the server allows it. An interrupted download
goes on where it stopped. An existing libtorch (LIBTORCH or LIBTORCH_USE_PYTORCH set) is left alone.

The index is the one pip uses; proxies come from the environment, certificates from PIP_CERT,
REQUESTS_CA_BUNDLE or SSL_CERT_FILE. Python 3.8 or newer, no packages.
"""

import argparse
import base64
import contextlib
import errno
import fcntl
import hashlib
import html.parser
import http.client
import io
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = Path(__file__).resolve().with_name("libtorch.lock.json")
CHUNK = 1 << 20
# Ranges closer than this are fetched as one: a request costs more than the bytes between.
GAP = 1 << 20
ATTEMPTS = 6
# Faults of this machine's disk: trying again would not help.
LOCAL_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
SHARED_OBJECT = re.compile(r"\.so(\.[0-9.]+)?$")


class SetupError(Exception):
    """Something the user can act on; printed without a traceback."""


# ---------------------------------------------------------------------------------------------- the index


def index_url():
    """The address of the package index that pip would use."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    asks = (
        ["-m", "pip", "config", "get", "global.index-url"],
        ["-c", "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"],
    )
    for ask in asks:
        answer = subprocess.run([sys.executable] + ask, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        url = answer.stdout.decode().strip()
        if answer.returncode == 0 and url:
            return url
    raise SetupError("no package index found: install pip for this Python, or set PIP_INDEX_URL")


class Links(html.parser.HTMLParser):
    """File name, URL and SHA-256 from an index page in HTML (PEP 503)."""

    def __init__(self, base):
        super().__init__()
        self.base, self.files = base, []

    def handle_starttag(self, tag, attrs):
        href = dict(attrs).get("href")
        if tag == "a" and href:
            url, _, fragment = urllib.parse.urljoin(self.base, href).partition("#")
            name = urllib.parse.unquote(url.rsplit("/", 1)[-1])
            digest = fragment[len("sha256=") :] if fragment.startswith("sha256=") else None
            self.files.append({"filename": name, "url": url, "hashes": {"sha256": digest}})


class Web:
    """HTTP as the user's environment wants it: proxies, certificates, credentials in the index URL."""

    def __init__(self):
        bundle = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
        if bundle and not os.path.exists(bundle):
            raise SetupError("the certificate bundle {} does not exist (PIP_CERT, REQUESTS_CA_BUNDLE)".format(bundle))
        folder = bundle if bundle and os.path.isdir(bundle) else None
        context = ssl.create_default_context(cafile=None if folder else bundle, capath=folder)
        self.opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        self.credentials = {}

    def open(self, url, **headers):
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        if parts.username:
            pair = "{}:{}".format(urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))
            self.credentials[host] = "Basic " + base64.b64encode(pair.encode()).decode()
        request = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=host)))
        for name, value in headers.items():
            request.add_header(name, value)
        if host in self.credentials:
            request.add_unredirected_header("Authorization", self.credentials[host])
        return self.opener.open(request, timeout=60)

    def files(self, project):
        """The index's files of one project."""
        url = index_url().rstrip("/") + "/" + project + "/"
        accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
        reply = retry(lambda: self.open(url, Accept=accept), "the index page of {}".format(project))
        with reply:
            body, base = reply.read().decode(), reply.geturl()
            if "json" in reply.headers.get("Content-Type", ""):
                files = json.loads(body)["files"]
                return [dict(f, url=urllib.parse.urljoin(base, f["url"])) for f in files]
        links = Links(base)
        links.feed(body)
        return links.files

    def wheel_url(self, wheel):
        """Where the wheel of the lock file lies. Name and digest must both match."""
        for file in self.files(wheel["project"]):
            if file["filename"] == wheel["file"]:
                if file["hashes"].get("sha256") in (None, wheel["sha256"]):
                    return file["url"]
                raise SetupError("the index offers another {} than the pinned one".format(wheel["file"]))
        raise SetupError("the index has no {}; point PIP_INDEX_URL to one that has".format(wheel["file"]))


def retry(action, what):
    """The result of `action`, tried again after faults that may pass."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise SetupError("{}: the server answers {} {}".format(what, error.code, error.reason))
            fault = error
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in LOCAL_FAULTS:
                raise SetupError(str(error))
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                raise SetupError("{}: {}; set PIP_CERT to your certificate bundle".format(what, error.reason))
            fault = error
        if attempt < ATTEMPTS:
            time.sleep(min(2**attempt, 20))
    raise SetupError("{}: {}. Run the same command again to go on where it stopped".format(what, fault))


# ------------------------------------------------------------------------------------------------ progress


class Progress:
    """One line that moves on a terminal, one line per download elsewhere."""

    def __init__(self, label, total, have):
        self.label, self.total, self.done, self.have = label, total, have, have
        self.start = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()
        if not self.terminal:
            say("{}: {:.1f} MB to download".format(label, (total - have) / 1e6))

    def add(self, count):
        self.done += count
        now = time.monotonic()
        if self.terminal and (now - self.shown > 0.1 or self.done == self.total):
            self.shown = now
            rate = (self.done - self.have) / max(now - self.start, 1e-3)
            left = (self.total - self.done) / max(rate, 1)
            line = "{}: {:.1f} of {:.1f} MB, {:.1f} MB/s, {:.0f} s left"
            line = line.format(self.label, self.done / 1e6, self.total / 1e6, rate / 1e6, left)
            sys.stderr.write("\r\033[K" + line + ("\n" if self.done == self.total else ""))
            sys.stderr.flush()


def say(text):
    print("setup: " + text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------- wheels


class RangesIgnored(Exception):
    """The server sent the whole file although a range was asked for."""


class RangedWheel(io.RawIOBase):
    """A wheel on a server as a seekable file: parts already on disk are read from there."""

    def __init__(self, web, url, wheel, folder):
        self.web, self.url, self.size, self.folder = web, url, wheel["size"], folder
        self.name, self.key = wheel["file"], wheel["sha256"][:16]
        self.position, self.spans = 0, []

    def seekable(self):
        return True

    def readable(self):
        return True

    def tell(self):
        return self.position

    def seek(self, offset, whence=io.SEEK_SET):
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def readinto(self, buffer):
        start, end = self.position, min(self.position + len(buffer), self.size)
        if start >= end:
            return 0
        for first, last, path in self.spans:
            if first <= start < last:
                with open(path, "rb") as part:
                    part.seek(start - first)
                    data = part.read(min(end, last) - start)
                break
        else:
            data = retry(lambda: self.range(start, end).read(), self.name)
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def range(self, start, end):
        reply = self.web.open(self.url, Range="bytes={}-{}".format(start, end - 1))
        if reply.status != 206:
            reply.close()
            raise RangesIgnored
        return reply

    def fetch(self, spans, label):
        """Download the byte ranges into `.part` files, going on with what is there."""
        parts = [(a, b, self.folder / "{}.{}-{}.part".format(self.key, a, b)) for a, b in spans]
        have = sum(p.stat().st_size for _, _, p in parts if p.exists())
        total = sum(b - a for a, b in spans)
        if have < total:
            progress = Progress(label, total, have)
            for start, end, path in parts:
                retry(lambda: self.fetch_part(start, end, path, progress), self.name)
        self.spans = parts

    def fetch_part(self, start, end, path, progress):
        with open(path, "ab") as part:
            at = start + part.tell()
            if at < end:
                with self.range(at, end) as reply:
                    copy(reply, part, end - at, progress)


def copy(reply, target, count, progress):
    """`count` bytes from the network to a file; a connection that ends early is a fault to retry."""
    while count:
        data = reply.read(min(CHUNK, count))
        if not data:
            raise ConnectionError("the connection closed early")
        target.write(data)
        progress.add(len(data))
        count -= len(data)


def fetch_whole(web, url, wheel, folder, label):
    """The whole wheel as a `.part` file, checked against its digest."""
    path = folder / (wheel["sha256"][:16] + ".whole.part")

    def attempt():
        have = path.stat().st_size if path.exists() else 0
        if have >= wheel["size"]:
            return
        with web.open(url, Range="bytes={}-".format(have)) as reply:
            if reply.status != 206:
                have = 0
            with open(path, "ab" if have else "wb") as part:
                copy(reply, part, wheel["size"] - have, Progress(label, wheel["size"], have))

    retry(attempt, wheel["file"])
    if sha256_of(path) != wheel["sha256"]:
        path.unlink()
        raise SetupError("{} arrived damaged and was removed; run the same command again".format(wheel["file"]))
    return path


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(CHUNK), b""):
            digest.update(block)
    return digest.hexdigest()


def wanted(archive, take):
    """The archive's members that `take` of the lock file names."""
    names = set(take.get("files", ()))
    trees = tuple(take.get("trees", ()))

    def is_wanted(name):
        return name in names or name.startswith(trees) or ("libraries" in take and SHARED_OBJECT.search(name))

    return [m for m in archive.infolist() if not m.is_dir() and is_wanted(m.filename)]


def spans_of(archive, members):
    """The byte ranges that hold `members`, near ones joined."""
    order = sorted(m.header_offset for m in archive.infolist()) + [archive.start_dir]
    following = dict(zip(order, order[1:]))
    spans = []
    for start in sorted(m.header_offset for m in members):
        end = following[start]
        if spans and start - spans[-1][1] <= GAP:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    return [tuple(s) for s in spans]


def tree_digest(digests):
    """One digest for many files: that of the lines `sha256  path`, sorted by path."""
    lines = ("{}  {}\n".format(digest, name) for name, digest in sorted(digests.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def extract(archive, members, dest):
    """Write the members below `dest` and return their digests."""
    digests = {}
    for member in members:
        target = dest / member.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with archive.open(member) as source, open(target, "wb") as file:
            for block in iter(lambda: source.read(CHUNK), b""):
                digest.update(block)
                file.write(block)
        digests[member.filename] = digest.hexdigest()
    return digests


def check(wheel, take, digests):
    """Compare what was extracted with the lock file."""
    expected = dict(take.get("files", {}))
    found = {name: digests.get(name) for name in expected}
    for tree, digest in take.get("trees", {}).items():
        expected[tree] = digest
        found[tree] = tree_digest({n: d for n, d in digests.items() if n.startswith(tree)})
    wrong = sorted(name for name in expected if expected[name] != found[name])
    if wrong:
        text = "{} of {} differ from the pinned ones; run the same command again"
        raise SetupError(text.format(", ".join(wrong), wheel["file"]))


def fetch_wheel(web, wheel, take, staging, downloads):
    """Download what `take` names of one wheel, check it and lay it out below `staging`."""
    label = "{} {}".format(wheel["project"], wheel["version"])
    url = web.wheel_url(wheel)
    try:
        if "libraries" in take:
            raise RangesIgnored  # the libraries are nearly the whole wheel: take it, and check it, as one
        remote = RangedWheel(web, url, wheel, downloads)
        archive = zipfile.ZipFile(io.BufferedReader(remote, CHUNK))
        remote.fetch(spans_of(archive, wanted(archive, take)), label)
    except RangesIgnored:
        archive = zipfile.ZipFile(fetch_whole(web, url, wheel, downloads, label))
    try:
        check(wheel, take, extract(archive, wanted(archive, take), staging))
    except (zipfile.BadZipFile, zlib.error) as error:
        discard(wheel, downloads)
        raise SetupError("{}: {}; run the same command again".format(wheel["file"], error))
    except SetupError:
        discard(wheel, downloads)
        raise
    discard(wheel, downloads)


def discard(wheel, downloads):
    """Remove what was downloaded of a wheel: used up, or damaged."""
    for part in downloads.glob(wheel["sha256"][:16] + ".*"):
        part.unlink()


# ------------------------------------------------------------------------------------------------ layout

# CUDA libraries lie beside torch/lib, not in it: torch-sys links libtorch_cuda.so whenever it stands in the folder
# it links from, and the program would then not start on a machine without CUDA. At the same depth, their own
# $ORIGIN/../../nvidia/... still leads to the CUDA wheels.
CUDA_FOLDER = "torch/lib-cuda"

# The wheel's libtorch.so is an empty library that needs libtorch_cuda.so. For `-ltorch` this is enough.
LIBTORCH_SO = "/* The wheel's libtorch.so would require libtorch_cuda.so. */\nINPUT(AS_NEEDED(-ltorch_cpu))\n"


def arrange(staging, dest, part, version):
    """Move the extracted files to their places."""
    if part == "cuda" and (staging / "torch/lib").exists():
        os.rename(staging / "torch/lib", staging / CUDA_FOLDER)
    if part == "cpu":
        (staging / "torch/lib/libtorch.so").write_text(LIBTORCH_SO)
        (staging / "torch/build-version").write_text(version + "\n")
    for source in sorted(p for p in staging.rglob("*") if p.is_file()):
        target = dest / source.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    shutil.rmtree(staging)


def install(part, lock, dest):
    """Fetch the wheels of one part, `cpu` or `cuda`."""
    web = Web()
    staging, downloads = dest / "staging", dest / "download"
    downloads.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(staging, ignore_errors=True)
    for wheel in lock["wheels"]:
        if part in wheel:
            fetch_wheel(web, wheel, wheel[part], staging, downloads)
    arrange(staging, dest, part, lock["libtorch"])
    with contextlib.suppress(OSError):
        downloads.rmdir()


def gpu_found():
    """Whether this machine has an NVIDIA GPU with its driver."""
    if os.path.exists("/dev/nvidiactl"):
        return True
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        null = subprocess.DEVNULL
        return subprocess.run(["nvidia-smi", "-L"], stdout=null, stderr=null, timeout=30).returncode == 0
    return False


def existing_libtorch():
    """The setting that already names a libtorch, or None."""
    for name in ("LIBTORCH_USE_PYTORCH", "LIBTORCH"):
        if os.environ.get(name):
            return "{}={}".format(name, os.environ[name])
    return None


@contextlib.contextmanager
def locked(dest):
    """One set-up at a time; a second one waits and then finds the work done."""
    dest.mkdir(parents=True, exist_ok=True)
    with open(dest / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("another set-up is at work in {}, waiting for it".format(dest))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(options):
    existing = existing_libtorch()
    if existing:
        say("{} is set: using that libtorch, nothing to fetch".format(existing))
        return
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise SetupError("only Linux on x86_64 is pinned here; set LIBTORCH to a libtorch of this platform")
    lock = json.loads(LOCK.read_text())
    parts = ["cpu", "cuda"] if options.cuda or (not options.cpu and gpu_found()) else ["cpu"]
    dest = options.dest.resolve()
    with locked(dest):
        for part in parts:
            stamp, digest = dest / "{}.ready".format(part), sha256_of(LOCK)
            if stamp.exists() and stamp.read_text() == digest:
                continue
            install(part, lock, dest)
            stamp.write_text(digest)
    names = " and ".join(part.upper() for part in parts)
    say("libtorch {} ({}) is ready in {}".format(lock["libtorch"], names, dest))


def main():
    usage = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = usage.add_mutually_exclusive_group()
    which.add_argument("--cuda", action="store_true", help="fetch the CUDA files, GPU or not")
    which.add_argument("--cpu", action="store_true", help="never fetch the CUDA files")
    usage.add_argument("--dest", type=Path, default=ROOT / ".libtorch", help="the folder (default: .libtorch)")
    try:
        run(usage.parse_args())
    except SetupError as error:
        sys.exit("setup: " + str(error))
    except KeyboardInterrupt:
        sys.exit("\nsetup: interrupted; the same command goes on where it stopped")


if __name__ == "__main__":
    main()
