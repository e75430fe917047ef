"""Brings libtorch into the process: the one that is there, PyTorch's, or the one that ``dismax setup`` fetched.

Two releases of libtorch in one process overwrite each other's state, so a second one is refused, whichever comes first.
"""

import ctypes
import importlib.abc
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

RELEASE = "2.11"
VERSION = "2.11.0"
# What the native part needs, each before what needs it.
LIBRARIES = ("libc10.so", "libtorch_cpu.so")

_MISSING = f"""\
dismax needs libtorch {RELEASE}, which is not installed. Either of these brings it:
  dismax setup                      131 MB, into {{cache}}
  pip install 'torch=={RELEASE}.*'      all of PyTorch"""


def cache() -> Path:
    """Where ``dismax setup`` puts libtorch."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "dismax" / f"libtorch-{VERSION}"


def load() -> None:
    """Loads libtorch, unless PyTorch has.

    Raises ``ImportError`` where there is none, or where PyTorch is here in another release.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        version = getattr(torch, "__version__", "of an unknown release")
        if not _fits(version):
            raise ImportError(
                f"dismax works with torch {RELEASE}, and torch {version} is in this process already; two releases of "
                f"libtorch in one process break each other. Use dismax in a process of its own, or torch {RELEASE}"
            )
        return
    folder = _folder()
    if folder is None:
        raise ImportError(_MISSING.format(cache=cache()))
    for library in LIBRARIES:
        try:
            ctypes.CDLL(str(folder / library), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise ImportError(f"{folder / library} cannot be loaded: {error}") from error
    sys.meta_path.insert(0, _OtherRelease())


def _folder():
    """The folder of the libraries, the user's own choice first."""
    if os.environ.get("LIBTORCH"):
        return Path(os.environ["LIBTORCH"]) / "lib"
    installed = _installed()
    if installed is not None and _fits(installed[0]):
        return installed[1]
    fetched = cache() / "torch" / "lib"
    return fetched if (fetched / LIBRARIES[-1]).exists() else None


def _installed():
    """Version and library folder of the PyTorch that ``import torch`` would find, without importing it."""
    try:
        spec = importlib.util.find_spec("torch")
        version = importlib.metadata.version("torch")
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    return version, Path(spec.origin).parent / "lib"


def _fits(version: str) -> bool:
    return version.startswith(RELEASE + ".")


class _OtherRelease(importlib.abc.MetaPathFinder):
    """Refuses a later ``import torch`` of another release."""

    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            try:
                version = importlib.metadata.version("torch")
            except importlib.metadata.PackageNotFoundError:
                return None
            if not _fits(version):
                raise ImportError(
                    f"dismax has loaded libtorch {RELEASE}, and torch {version} would bring another; two releases in one "
                    f"process break each other. Use them in two processes, or install torch {RELEASE}"
                )
        return None
