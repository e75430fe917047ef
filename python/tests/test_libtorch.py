"""Where libtorch comes from, and that there is never a second one."""

import os

from conftest import CIFAR10, MIXED, run_command, run_program

OPEN = f"import dismax; print(dismax.Model({str(CIFAR10)!r}).score({str(MIXED)!r}).limit(1).count())"


def without_libtorch(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "LIBTORCH"}
    return {**environment, "XDG_CACHE_HOME": str(tmp_path)}


def installed(tmp_path, version):
    """A package that says it is PyTorch."""
    site = tmp_path / "site"
    (site / "torch").mkdir(parents=True)
    (site / "torch/__init__.py").write_text(f"__version__ = {version!r}\n")
    (site / f"torch-{version}.dist-info").mkdir()
    (site / f"torch-{version}.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    return site


def test_without_libtorch_both_ways_to_get_it_are_named(tmp_path):
    done = run_program(OPEN, env=without_libtorch(tmp_path))
    assert done.returncode == 1
    assert "dismax setup" in done.stderr and "torch==2.11" in done.stderr and str(tmp_path) in done.stderr
    done = run_command("--version", env=without_libtorch(tmp_path))
    assert done.returncode == 1 and "dismax setup" in done.stderr and "Traceback" not in done.stderr
    # Looking needs nothing.
    done = run_program("import dismax; print(dismax.__version__, dismax.Error.__name__)", env=without_libtorch(tmp_path))
    assert done.stdout == "0.1.0 Error\n", done.stderr


def test_what_setup_fetches_is_found(tmp_path):
    place = tmp_path / "dismax/libtorch-2.11.0"
    place.parent.mkdir()
    place.symlink_to(os.path.dirname(os.path.realpath(os.environ["LIBTORCH"])))
    done = run_program(OPEN, env=without_libtorch(tmp_path))
    assert done.stdout == "1\n", done.stderr


def test_the_setup_is_the_one_of_the_repository(tmp_path):
    done = run_command("setup", "--help", env=without_libtorch(tmp_path))
    assert done.returncode == 0 and "dismax setup" in done.stdout and "--cuda" in done.stdout


def test_another_release_in_the_process_is_refused(tmp_path):
    site = installed(tmp_path, "2.15.0")
    environment = {**os.environ, "PYTHONPATH": f"{site}:{os.environ['PYTHONPATH']}"}
    done = run_program(f"import torch; {OPEN}", env=environment)
    assert done.returncode == 1 and "torch 2.11" in done.stderr and "torch 2.15.0 is in this process" in done.stderr
    done = run_program(f"{OPEN}; import torch", env=environment)
    assert done.stdout == "1\n" and "torch 2.15.0 would bring another" in done.stderr


def test_threads_that_come_later_have_their_own_settings(model):
    """The workers compute with one thread each; other users of libtorch in the process keep theirs."""
    program = f"""
import ctypes, dismax, threading
dismax._load()
libtorch = ctypes.CDLL("libtorch_cpu.so")
threads, set_threads = libtorch._ZN2at15get_num_threadsEv, libtorch._ZN2at15set_num_threadsEi
set_threads(3)
model = dismax.Model({str(CIFAR10)!r})
list(model.score({str(MIXED)!r}).select("is_ood"))
seen = [threads()]
thread = threading.Thread(target=lambda: seen.append(threads()))
thread.start()
thread.join()
print(seen)
"""
    done = run_program(program)
    assert done.stdout == "[3, 3]\n", done.stdout + done.stderr
