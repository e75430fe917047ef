"""The engines that people have, each on a local cluster of two workers: the values are those of the command."""

import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests"))
from conftest import CIFAR10, MIXED, assert_equal, run_command, run_program  # noqa: E402

import dismax  # noqa: E402

COLUMNS = ["id", "prediction", "confidence", "ood_score", "is_ood", "error"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the command writes. Releases of pyarrow before 26 cannot read its column of lists, of which some are null."""
    out = tmp_path_factory.mktemp("expected") / "scored.parquet"
    done = run_command("--quiet", "score", MIXED, "--model", CIFAR10, "--out", out)
    assert done.returncode == 0, done.stderr
    return pq.read_table(out, columns=COLUMNS)


@pytest.fixture(scope="module")
def model():
    return dismax.Model(CIFAR10, workers=1)


def in_order(rows, expected):
    assert_equal(pa.table(rows).sort_by("id"), expected.select(COLUMNS))


def test_spark_maps_in_arrow(model, expected):
    pyspark = pytest.importorskip("pyspark")
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.executorEnv.PYTHONPATH", os.environ["PYTHONPATH"])
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "100")
        .getOrCreate()
    )
    try:
        schema = "id int, prediction string, confidence float, ood_score float, is_ood boolean, error string"
        photos = spark.read.parquet(str(MIXED)).repartition(2)
        rows = photos.mapInArrow(lambda batches: model.map_batches(batches, COLUMNS), schema)
        in_order(rows.toArrow(), expected)
        assert pyspark.__version__
    finally:
        spark.stop()


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
