"""Models as ONNX: what ONNX Runtime computes is what scoring appends."""

import io
import json

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import CIFAR10, DIGITS, MIXED, ROOT, run_command
from PIL import Image

import dismax

# Of scores and probabilities. P-values are ranks: a score that moves by this much may pass some calibration rows.
TOLERANCE = 1e-4
COLUMNS = ["prediction", "confidence", "probabilities", "ood_score", "ood_p_value", "is_ood"]

# Every kind of network, head, score and threshold, as flags of a training that takes a moment.
TRAININGS = {
    "resnet20 mds+early": ["--arch", "resnet20", "--loss", "dismax-dagger", "--score", "mds+early"],
    "vgg8 mirror averages": ["--arch", "vgg8", "--loss", "isomax-plus", "--tta", "flip", "--score", "mds+early"],
    "densenet by class": ["--arch", "densenet-bc100", "--loss", "isomax", "--score", "es", "--per-class"],
    "wide": ["--arch", "wrn-28-10", "--loss", "softmax", "--score", "mps"],
    "bottlenecks": ["--arch", "resnet50", "--loss", "t2fnorm", "--score", "mmleps", "--image-size", "56"],
    "photographs": ["--arch", "resnet18", "--loss", "dismax", "--score", "mmls", "--image-size", "56"],
}


@pytest.fixture(scope="module")
def rows():
    """Images of digits, known and unknown, with their labels."""
    return pa.concat_tables([pq.read_table(DIGITS / f"{name}.parquet", columns=["image", "label"]) for name in ("test", "unseen")])


def sized(rows, size):
    """The rows with every image brought to the size, and the pixels."""
    images = [Image.open(io.BytesIO(image["bytes"])).convert("RGB").resize(size) for image in rows["image"].to_pylist()]
    files = [io.BytesIO() for _ in images]
    for image, file in zip(images, files):
        image.save(file, "PNG")
    table = pa.table({"image": pa.array([file.getvalue() for file in files]), "label": rows["label"]})
    return table, np.stack([np.asarray(image) for image in images])


def export(model, out):
    done = run_command("export", model, "--onnx", out)
    assert done.returncode == 0, done.stderr
    onnx.checker.check_model(onnx.load(out), full_check=True)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    return session, session.get_modelmeta().custom_metadata_map


def compare(model, table, inputs, session):
    """Scores the table with dismax and the inputs with ONNX Runtime."""
    scored = pa.table(dismax.Model(model).score(table))
    given = session.run(COLUMNS, inputs)
    classes = dismax.Model(model).classes
    expected = [np.asarray(scored[name].to_pylist()) for name in COLUMNS]
    assert [classes[number] for number in given[0]] == list(expected[0])
    for name, ours, theirs in zip(COLUMNS[1:4], expected[1:4], given[1:4]):
        assert theirs.dtype == np.float32 and np.isfinite(theirs).all()
        np.testing.assert_allclose(theirs, ours, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
    # At most a few rows stand so close to a calibration row that the last digits of their scores decide.
    assert np.mean(np.abs(given[4] - expected[4]) > 1e-6) < 0.02
    assert np.mean(given[5] != expected[5]) < 0.01
    assert 0 < given[5].mean() < 1


@pytest.mark.parametrize("flags", TRAININGS.values(), ids=TRAININGS)
def test_networks_heads_and_scores(rows, flags, tmp_path):
    # Two digits are learnt at once, even by a large network.
    train = pq.read_table(DIGITS / "train.parquet")
    train, _ = sized(train.filter(pc.less(train["label"], 2)), (16, 16))
    pq.write_table(train, tmp_path / "train.parquet")
    recipe = ["--epochs", "2", "--lr", "0.02", "--batch-size", "32", "--no-flip", "--validation", "0.3", "--alpha", "0.3", "--device", "cpu"]
    done = run_command("--quiet", "train", tmp_path / "train.parquet", "--out", tmp_path / "model", *recipe, *flags)
    assert done.returncode == 0, done.stderr
    session, metadata = export(tmp_path / "model", tmp_path / "model.onnx")
    _, height, width, _ = session.get_inputs()[0].shape
    resize = json.loads(metadata["dismax.preprocessing"])["resize"]
    # Of photographs the centre is seen. Images of these sizes are not resized.
    side = resize.get("pixels", height)
    table, pixels = sized(rows.slice(0, 60), (side, side))
    top, left = (side - height) // 2, (side - width) // 2
    pixels = pixels[:, top : top + height, left : left + width]
    compare(tmp_path / "model", table, {"pixels": pixels}, session)
    assert metadata["dismax.score"] == flags[flags.index("--score") + 1]


@pytest.mark.parametrize("name", ["cifar10-resnet20", "cifar10-vgg8"])
def test_the_models_that_come_along(rows, name, tmp_path):
    model = ROOT / "models" / name
    session, metadata = export(model, tmp_path / "model.onnx")
    table, pixels = sized(rows, (32, 32))
    compare(model, table, {"pixels": pixels}, session)
    loaded = dismax.Model(model)
    assert json.loads(metadata["dismax.classes"]) == loaded.classes
    assert metadata["dismax.model_digest"] == loaded.digest
    preprocessing = json.loads(metadata["dismax.preprocessing"])
    assert (preprocessing["height"], preprocessing["width"]) == (32, 32)


@pytest.mark.parametrize("head", ["dismax", "mahalanobis"])
def test_embeddings(head, model, tmp_path):
    session = dismax.Session(model)
    query = "SELECT label, dismax_embedding(image) AS embedding FROM '{}'"
    train, test = (session.sql(query.format(DIGITS / f"{name}.parquet")).to_arrow() for name in ("train", "unseen"))
    pq.write_table(pa.table(train), tmp_path / "train.parquet")
    flags = ["--embedding", "embedding", "--head", head, "--validation", "0.2", "--out", tmp_path / "model"]
    done = run_command("train", tmp_path / "train.parquet", *flags)
    assert done.returncode == 0, done.stderr
    runtime, metadata = export(tmp_path / "model", tmp_path / "model.onnx")
    assert "dismax.preprocessing" not in metadata
    embeddings = np.asarray(pa.table(test)["embedding"].to_pylist(), dtype=np.float32)
    compare(tmp_path / "model", test, {"embeddings": embeddings}, runtime)

    # Lengths do not matter, and what scoring refuses is never in-distribution.
    given = runtime.run(["ood_score", "is_ood"], {"embeddings": np.stack([embeddings[0] * 1e30, embeddings[0] * 1e-30])})
    plain = runtime.run(["ood_score", "is_ood"], {"embeddings": embeddings[:1]})
    np.testing.assert_allclose(given[0], np.repeat(plain[0], 2), rtol=TOLERANCE)
    broken = np.stack([embeddings[0] * 0, embeddings[0], embeddings[0]])
    broken[1, 3], broken[2, 5] = np.nan, np.inf
    scores, flags = runtime.run(["ood_score", "is_ood"], {"embeddings": broken})
    assert np.isnan(scores).all() and flags.all()


def test_what_cannot_be_exported(tmp_path):
    out = tmp_path / "model.onnx"
    done = run_command("export", tmp_path, "--onnx", out)
    assert done.returncode == 3 and "not a model bundle" in done.stderr and not out.exists()
    out.write_bytes(b"mine")
    done = run_command("export", CIFAR10, "--onnx", out)
    assert done.returncode == 2 and "--force" in done.stderr and out.read_bytes() == b"mine"
    assert run_command("export", CIFAR10, "--onnx", out, "--force").returncode == 0
    assert onnx.load(out).producer_name == "dismax"

    flags = ["--data", DIGITS / "train.parquet", "--unknown", DIGITS / "unseen.parquet", "--score", "mds+unknown"]
    names = dismax.Model(CIFAR10).classes
    table = pq.read_table(DIGITS / "train.parquet", columns=["image", "label"])
    named = table.set_column(1, "label", pa.array([names[label] for label in table["label"].to_pylist()]))
    pq.write_table(named, tmp_path / "named.parquet")
    flags[1] = tmp_path / "named.parquet"
    done = run_command("calibrate", CIFAR10, *flags, "--out", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    done = run_command("export", tmp_path / "model", "--onnx", tmp_path / "other.onnx")
    assert done.returncode == 2 and "calibrate the model with another score" in done.stderr
    assert not (tmp_path / "other.onnx").exists()
