"""One process: the interpreter's lock, threads, Ctrl-C, fork, pickles, other libraries' code in the middle of ours."""

import ctypes
import gc
import multiprocessing
import pickle
import signal
import subprocess
import sys
import threading
import time

import datasets
import polars as pl
import pyarrow as pa
import pytest
from conftest import CIFAR10, DIGITS, MIXED, ROOT, assert_equal, run_program

import dismax


class Stream(ctypes.Structure):
    """An Arrow C stream."""


GetSchema = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.c_void_p)
# PYFUNCTYPE keeps the interpreter's lock while the function runs.
GetNext = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.c_void_p)
Release = ctypes.PYFUNCTYPE(None, ctypes.POINTER(Stream))
Stream._fields_ = [
    ("get_schema", GetSchema),
    ("get_next", GetNext),
    ("get_last_error", ctypes.c_void_p),
    ("release", Release),
    ("private_data", ctypes.c_void_p),
]


def test_a_consumer_may_hold_the_lock(model, table):
    """While it waits for rows that a Python generator gives, which needs the lock."""
    ticks = []

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.005)

    def slow():
        for batch in table.to_batches(100):
            time.sleep(0.05)
            yield batch

    done = threading.Event()
    capsule = model.score(slow(), batch_rows=100).__arrow_c_stream__()
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    stream = ctypes.cast(pointer(capsule, b"arrow_array_stream"), ctypes.POINTER(Stream))
    thread = threading.Thread(target=tick)
    thread.start()
    rows = 0
    while True:
        # length, null_count, offset, n_buffers, n_children, buffers, children, dictionary, release, private_data
        array = (ctypes.c_int64 * 10)()
        assert stream.contents.get_next(stream, ctypes.addressof(array)) == 0
        if array[8] == 0:
            break
        rows += array[0]
        ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(array[8])(ctypes.addressof(array))
    done.set()
    thread.join()
    assert rows == 721
    assert len(ticks) > 20, "another thread ran meanwhile"


def test_a_library_may_let_go_of_the_lock_in_the_middle(model, expected):
    """pyarrow releases it and calls us; we were called by ourselves, which pyo3 takes for holding it."""
    seen = []

    class Data:
        def __arrow_c_stream__(self, requested_schema=None):
            seen.append(model.score(MIXED).to_arrow().num_rows)
            return pa.table(model.score(MIXED).select("id", "image")).__arrow_c_stream__()

    assert model.score(Data()).to_arrow(progress=True).num_rows == 721
    assert seen[0] == 721


def test_eight_threads_share_a_model(model, expected):
    results = [None] * 8

    def score(place):
        results[place] = model.score(MIXED).select("id", "ood_score").to_arrow()

    threads = [threading.Thread(target=score, args=[place]) for place in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for result in results:
        assert_equal(result, expected.select(["id", "ood_score"]))


def test_what_a_generator_raises_arrives_as_it_was_raised(model, table):
    class Mine(Exception):
        pass

    def failing():
        yield table.to_batches(100)[0]
        raise Mine("here")

    for read in (lambda relation: relation.to_polars(), lambda relation: relation.to_arrow(), list):
        with pytest.raises(Mine, match="here") as caught:
            read(model.score(failing()))
        assert "failing" in [entry.name for entry in caught.traceback]
    # Another library tells it in its own way.
    with pytest.raises(Exception, match="here"):
        pl.DataFrame(model.score(failing()))


def test_an_error_that_nobody_reads_is_let_go_of(model, table):
    """A limit ends the query while the exception of the generator waits in a queue."""

    def failing():
        yield table.to_batches(1000)[0]
        raise ValueError("unseen" * 1000)

    for _ in range(20):
        assert model.score(failing()).select("id").limit(1).to_arrow().num_rows == 1
    gc.collect()


def test_models_end_while_rows_of_python_are_scored(table):
    """The last image may be let go of by a worker, which needs the lock for it."""
    import numpy as np

    pixels = np.zeros((500, 32, 32, 3), dtype=np.uint8)

    def begin():
        images = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels.copy())
        rows = iter(dismax.Model(CIFAR10).score(pa.table({"image": images}), batch_rows=8))
        assert next(rows).num_rows == 8

    for _ in range(3):
        begin()


def test_a_handler_of_a_signal_may_ask_for_rows(model, table):
    counts = []

    def slow():
        for batch in table.to_batches(100):
            time.sleep(0.2)
            yield batch

    before = signal.signal(signal.SIGALRM, lambda number, frame: counts.append(model.score(MIXED).count()))
    try:
        signal.alarm(1)
        assert model.score(slow()).select("is_ood").to_arrow().num_rows == 721
    finally:
        signal.signal(signal.SIGALRM, before)
    assert counts == [721]


def test_a_relation_can_be_dropped_halfway(model, table):
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield table.slice(0, 100).to_batches()[0]
        finally:
            closed.set()

    reading = iter(model.score(endless(), batch_rows=64))
    assert next(reading).num_rows == 64
    del reading
    gc.collect()
    before = -1
    while before != model.images_scored:
        before = model.images_scored
        time.sleep(0.3)
    assert closed.wait(5), "the generator is closed"
    assert model.score(MIXED).to_arrow().num_rows == 721


INTERRUPTED = f"""
import dismax, itertools, pyarrow as pa, pyarrow.parquet as pq, sys, threading
table = pq.read_table({str(MIXED)!r})
model = dismax.Model({str(CIFAR10)!r})
endless = (batch for _ in itertools.count() for batch in table.to_batches())
scored = model.score(endless)
def out():
    print("begun", flush=True)
try:
    out()
    {{work}}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    import os
    os._exit(7)
"""


@pytest.mark.parametrize(
    "work",
    [
        "scored.write({tmp!r})",
        "scored.to_arrow()",
        "scored.where('is_ood').select('id').limit(10**12).to_polars()",
        "[None for batch in scored]",
        "dismax.Session(model, t=scored).sql('SELECT avg(ood_score) FROM t').to_arrow()",
        "dismax.audit(endless, model, out={tmp!r} + '-audit')",
        f"dismax.train({str(DIGITS / 'train.parquet')!r}, out={{tmp!r}} + '-model', epochs=1000)",
    ],
)
def test_ctrl_c_ends_what_runs(work, tmp_path):
    program = INTERRUPTED.replace("{work}", work.replace("{tmp!r}", repr(str(tmp_path / "out.parquet"))))
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "begun\n"
    time.sleep(1.5)
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    start = time.monotonic()
    output, _ = running.communicate(timeout=60)
    assert (output, running.returncode) == ("interrupted\n", 7)
    # A training finishes its step, an audit its record batch; a loaded machine may take its time.
    assert time.monotonic() - start < 20
    # A training leaves what continues it.
    of_training = ("out.parquet-model.checkpoint", "out.parquet-model.metrics.jsonl")
    assert [path.name for path in tmp_path.iterdir() if path.name not in of_training] == []


def test_ctrl_c_ends_what_another_library_reads(tmp_path):
    """It tells the interrupt in its own way."""
    program = INTERRUPTED.replace("{work}", "import polars; polars.DataFrame(scored)")
    pipe = subprocess.PIPE
    running = subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True)
    assert running.stdout.readline() == "begun\n"
    time.sleep(1.5)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1 and "KeyboardInterrupt" in errors


def test_a_fork_after_use_is_an_error_and_not_a_hang(model):
    def child(connection):
        try:
            connection.send(model.score(MIXED).count())
        except BaseException as error:
            connection.send((type(error).__name__, str(error)))

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=[theirs])
    process.start()
    assert ours.poll(30)
    name, words = ours.recv()
    process.join(30)
    assert (name, "spawn" in words, process.exitcode) == ("ForkError", True, 0)


def count_unknown(model):
    return model.score(MIXED).where("is_ood").count()


def test_a_model_goes_to_a_spawned_process_by_pickle(model):
    copy = pickle.loads(pickle.dumps(model))
    assert copy.digest == model.digest
    program = f"""
import multiprocessing, sys
sys.path.insert(0, {str(ROOT / "python/tests")!r})
import dismax
from test_process import count_unknown
if __name__ == "__main__":
    model = dismax.Model({str(CIFAR10)!r})
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(count_unknown, [model, model]), count_unknown(model))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    counts, here = done.stdout.strip().rsplit(" ", 1)
    assert counts == f"[{here}, {here}]"


def test_another_model_in_the_place_of_a_pickled_one_is_refused(model, tmp_path):
    import shutil

    place = tmp_path / "model"
    shutil.copytree(CIFAR10, place)
    pickled = pickle.dumps(dismax.Model(place))
    assert pickle.loads(pickled).digest == model.digest
    shutil.rmtree(place)
    with pytest.raises(dismax.ModelError):
        # Another process has not opened it yet.
        dismax._load()._unpickle_model(place, "0" * 64, {"device": "auto", "workers": None, "max_pixels": None, "read_paths": False})


def test_hugging_face_maps_in_processes_of_its_own(tmp_path):
    """Where the model is opened in the worker; one of the parent is refused with words."""
    program = f"""
import datasets
datasets.disable_progress_bars()
rows = datasets.Dataset.from_parquet({str(MIXED)!r}, cache_dir={str(tmp_path)!r}).with_format("arrow")
models = []
def score(table):
    import dismax
    if not models:
        models.append(dismax.Model({str(CIFAR10)!r}))
    return models[0].map_batches(table, columns=["id", "prediction"])
{{before}}
print(len(rows.map(score, batched=True, batch_size=100, num_proc=2, remove_columns=rows.column_names).unique("id")))
"""
    done = run_program(program.replace("{before}", ""))
    assert done.stdout == "721\n", done.stderr
    used = f"import dismax; models.append(dismax.Model({str(CIFAR10)!r}))"
    done = run_program(program.replace("{before}", used))
    assert done.returncode != 0 and "dismax.ForkError" in done.stderr and "spawn" in done.stderr
