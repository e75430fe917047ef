"""The engines that people have, each on a local cluster of two workers: the values are those of the command."""

import ctypes
import os
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests"))
from conftest import APPENDED, CIFAR10, DIGITS, MIXED, ROOT, assert_equal, run_command, run_program  # noqa: E402

import dismax  # noqa: E402

COLUMNS = ["id", "prediction", "confidence", "ood_score", "is_ood", "error"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the command writes. Before release 26 pyarrow cannot read its column of lists, of which some are null."""
    out = tmp_path_factory.mktemp("expected") / "scored.parquet"
    done = run_command("--quiet", "score", MIXED, "--model", CIFAR10, "--out", out)
    assert done.returncode == 0, done.stderr
    return pq.read_table(out, columns=COLUMNS)


@pytest.fixture(scope="module")
def model():
    return dismax.Model(CIFAR10, workers=1)


def in_order(rows, expected):
    assert_equal(pa.table(rows).sort_by("id"), expected.select(COLUMNS))


# The programs of examples/python, what starts them on two workers with a core each, and how many processes open the model:
# the workers, the job itself, and the planner of Daft on Ray.
JOBS = {
    "spark": ("spark_job.py", ["spark-submit", "--master", "local-cluster[2,1,1024]"], 3),
    "ray": ("ray_job.py", ["python"], 3),
    "daft": ("daft_job.py", ["python"], 3),
    "daft on ray": ("daft_job.py", ["env", "DAFT_RUNNER=ray", "python"], 4),
}


@pytest.mark.parametrize("photos", ["test train validation", "mixed"])
@pytest.mark.parametrize("engine", JOBS)
def test_a_job_writes_what_the_command_writes(engine, photos, tmp_path):
    pytest.importorskip({"spark": "pyspark"}.get(engine, engine.split()[0]))
    source, model, out, wanted = (tmp_path / name for name in ("photos", "model", "scored", "expected.parquet"))
    source.mkdir()
    for name in photos.split():
        shutil.copy(DIGITS / f"{name}.parquet", source)
    shutil.copytree(CIFAR10, model)
    done = run_command("--quiet", "score", source, "--model", model, "--out", wanted)
    assert done.returncode == 0, done.stderr

    program, start, processes = JOBS[engine]
    programs = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    # Spark would look for the address of this machine's name, which may lead nowhere.
    settings = {"PATH": programs, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    words = [*start, ROOT / "examples/python" / program, source, model, out]
    with Openings(model) as openings:
        done = subprocess.run(words, env=os.environ | settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    # Once in each process, and not for each batch. A worker that gets no images need not open it.
    assert 2 <= openings.count("model.safetensors") <= processes

    rows = pq.read_table(out)
    columns = rows.column_names
    assert columns == pq.read_schema(wanted).names[: -len(APPENDED)] + COLUMNS[1:]
    expected = pq.read_table(wanted, columns=columns)
    assert f"{pc.sum(expected['is_ood']).as_py()} rows flagged" in done.stdout
    assert_equal(by_key(rows), by_key(expected))


def by_key(rows):
    """The rows in an order of their own: engines need not keep one. In the files without `id` an image's path is unique."""
    rows = rows.append_column("key", rows["id"] if "id" in rows.column_names else pc.struct_field(rows["image"], "path"))
    return rows.sort_by("key").drop_columns("key")


class Openings:
    """How often the files of a folder are opened, by any process."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        libc, in_open = ctypes.CDLL(None), 0x20
        self.descriptor = libc.inotify_init1(os.O_NONBLOCK)
        assert libc.inotify_add_watch(self.descriptor, os.fsencode(self.folder), in_open) >= 0
        return self

    def __exit__(self, *_):
        # Some 20 files' events, 16 bytes and a name each.
        self.events = os.read(self.descriptor, 1 << 16)
        os.close(self.descriptor)

    def count(self, name):
        return self.events.count(name.encode() + b"\0")


def test_ray_maps_batches(model, expected):
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"], "LIBTORCH": os.environ["LIBTORCH"]}})
    try:
        rows = ray.data.read_parquet(str(MIXED)).repartition(4)
        rows = rows.map_batches(model.map_batches, batch_format="pyarrow", batch_size=100, fn_args=[COLUMNS])
        in_order(pa.concat_tables(ray.get(rows.to_arrow_refs())), expected)
    finally:
        ray.shutdown()


def test_daft_calls_a_function_on_batches(model, expected):
    daft = pytest.importorskip("daft")
    scores = pa.schema([("prediction", pa.string()), ("confidence", pa.float32()), ("ood_score", pa.float32()), ("is_ood", pa.bool_()), ("error", pa.string())])
    struct = daft.DataType.from_arrow_type(pa.struct(list(scores)))

    @daft.func.batch(return_dtype=struct)
    def score(images):
        scored = model.map_batches(pa.table({"image": images.to_arrow()}), scores.names).combine_chunks()
        return pa.chunked_array(scored.to_struct_array())

    rows = daft.read_parquet(str(MIXED)).into_partitions(2).select("id", score(daft.col("image")).alias("s"))
    rows = rows.select("id", *[daft.col("s").get(name).alias(name) for name in scores.names])
    in_order(rows.to_arrow(), expected)


def test_daft_reads_a_relation(model, expected):
    daft = pytest.importorskip("daft")
    # Daft has no dictionaries.
    columns = ["arrow_cast(prediction, 'Utf8') AS prediction" if name == "prediction" else name for name in COLUMNS]
    in_order(daft.from_arrow(model.score(MIXED).select(*columns).to_arrow()).to_arrow(), expected)


def test_torch_of_the_same_release_lives_beside(tmp_path):
    pytest.importorskip("torch", reason="PyTorch 2.11 takes 2.7 GB: pip install torch==2.11.0")
    for order in (f"import torch; {OPEN}", f"{OPEN}; import torch"):
        environment = {name: value for name, value in os.environ.items() if name != "LIBTORCH"}
        done = run_program(order + CHECK, env=environment)
        assert done.stdout == "715\n[1.0, 1.0]\n1\n", done.stderr


OPEN = f"import dismax; print(dismax.Model({str(CIFAR10)!r}).score({str(MIXED)!r}).where('error IS NULL').count())"
CHECK = """
print((torch.ones(2) * torch.ones(2)).tolist())
paths = {line.split()[-1] for line in open("/proc/self/maps") if line.rstrip().endswith("libtorch_cpu.so")}
print(len(paths))
"""
