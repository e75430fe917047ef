"""Models of embeddings: tables of vectors in place of images."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DIGITS, MIXED, assert_equal, run_command

import dismax


@pytest.fixture(scope="module")
def vectors(model):
    """What the CIFAR-10 model gives for digits: embeddings by file."""
    query = "SELECT label, dismax_embedding(image) AS clip FROM '{}'"
    session = dismax.Session(model)
    return {name: session.sql(query.format(DIGITS / f"{name}.parquet")).to_arrow() for name in ("train", "test", "unseen")}


def test_vectors_are_scored_as_images_are(model, vectors, tmp_path):
    pq.write_table(vectors["train"], tmp_path / "train.parquet")
    arguments = ["--embedding", "clip", "--validation", "0.2", "--out", tmp_path / "model"]
    done = run_command("train", tmp_path / "train.parquet", *arguments)
    assert done.returncode == 0, done.stderr
    head = dismax.Model(tmp_path / "model")
    assert (head.dimensions, head.architecture, model.dimensions) == (64, None, None)
    assert "dismax on embeddings of 64 numbers" in repr(head)

    scored = pa.table(head.score(vectors["test"]))
    right = [str(label) == guess for label, guess in zip(scored["label"].to_pylist(), scored["prediction"].to_pylist())]
    assert sum(right) > 0.85 * len(right)
    assert_equal(pa.table(head.score(vectors["test"], embedding="clip")), scored, ["confidence", "ood_p_value"])
    unseen = pa.table(head.score(vectors["unseen"]))["is_ood"].to_pylist()
    assert sum(unseen) > 0.3 * len(unseen)

    with pytest.raises(dismax.UsageError, match="one of the two"):
        head.score(vectors["test"], image="clip", embedding="clip")
    with pytest.raises(dismax.UsageError, match="an embedding column holds lists"):
        head.score(MIXED)
    with pytest.raises(dismax.UsageError, match="an image column is"):
        model.score(vectors["test"])
