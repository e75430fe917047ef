"""Audits and trainings, as the command does them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DIGITS, MIXED, run_command

import dismax


def findings(folder):
    columns = ["row", "kind", "severity"]
    return pq.read_table(folder / "findings.parquet", columns=columns).sort_by([(name, "ascending") for name in columns])


def test_an_audit_finds_what_the_command_finds(digits, tmp_path):
    by_command = tmp_path / "by-command"
    done = run_command("--quiet", "audit", MIXED, "--model", digits.path, "--label", "digit", "--group-by", "source", "--out", by_command)
    assert done.returncode == 0, done.stderr
    command = dismax.Audit(by_command).summary["command"]
    assert command.startswith("dismax --quiet audit ") and command.endswith(f"--out {by_command}")
    audit = dismax.audit(MIXED, digits, label="digit", group_by="source", out=tmp_path / "audit")
    assert findings(audit.path) == findings(by_command)
    assert audit.findings.count() == audit.summary["findings"] == sum(audit.kinds.values())
    assert audit.report.read_text().startswith("<!") and "findings" in repr(audit)
    page = audit._repr_html_()
    assert "report.html" in page and "undecodable" in page
    assert dismax.Audit(audit.path).kinds == audit.kinds
    with pytest.raises(dismax.OutputError, match="overwrite=True"):
        dismax.audit(MIXED, digits, out=audit.path)


def test_an_audit_takes_tables_and_references(digits, table, tmp_path):
    by_file = dismax.audit(MIXED, digits, label="digit", out=tmp_path / "file")
    by_table = dismax.audit(table, digits, label="digit", out=tmp_path / "table")
    assert findings(by_table.path) == findings(by_file.path)
    beside = dismax.audit(table.slice(0, 50), digits, reference=table.slice(0, 10), out=tmp_path / "beside")
    assert beside.kinds["leaked"] == 10
    digest = beside.findings.to_arrow()["image_digest"][0].as_py()
    (tmp_path / "marks.csv").write_text(f"image_digest,mark\n{digest},unknown\n")
    marked = dismax.audit(table.slice(0, 50), digits, marks=tmp_path / "marks.csv", out=tmp_path / "marked")
    assert marked.summary["unknown"]["marked_unknown"] == 1 and marked.kinds["unknown"] >= 1
    with pytest.raises(dismax.UsageError, match="with a model"):
        dismax.audit(table, marks=tmp_path / "marks.csv", out=tmp_path / "without")
    renamed = table.append_column("other", table["image"]).slice(0, 50)
    with pytest.raises(dismax.UsageError, match='image="COLUMN"'):
        dismax.audit(renamed, digits, out=tmp_path / "two")
    assert dismax.audit(renamed, digits, image="other", out=tmp_path / "two").summary["rows"] == 50


def test_what_is_no_audit_says_so(tmp_path):
    with pytest.raises(dismax.DataError, match="is no audit"):
        dismax.Audit(tmp_path)


def test_a_training_is_the_one_of_the_command(tmp_path):
    events = []
    model = dismax.train(
        DIGITS / "train.parquet", out=tmp_path / "model", epochs=2, flip=False, seed=3, workers=1, device="cpu", on_event=events.append
    )
    assert [event["event"] for event in events] == ["begin", "epoch", "epoch"] and events[2]["epoch"] == 2
    done = run_command(
        "--quiet", "train", DIGITS / "train.parquet", "--out", tmp_path / "command", "--epochs", 2, "--no-flip",
        "--seed", 3, "--workers", 1, "--device", "cpu", "--json",
    )
    assert done.returncode == 0, done.stderr
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("model", "command")]
    assert weights[0] == weights[1]
    assert model.classes == [str(digit) for digit in range(8)] and 0 < model.alpha < 1 and model.temperature > 0
    assert "held_out" in model.metrics and json.dumps(model.metrics)


def test_a_recipe_is_a_file_or_a_dict(tmp_path):
    def trained(name, **options):
        dismax.train(DIGITS / "train.parquet", out=tmp_path / name, tta="flip", progress=False, **options)
        return json.loads((tmp_path / name / "recipe.json").read_text())

    keys = {"ema": 0.9, "keep": "best", "epochs": 1, "seed": 3}
    by_dict = trained("dict", recipe=keys, epochs=2, flip=False)
    assert {name: by_dict[name] for name in keys} == {**keys, "epochs": 2} and by_dict["flip"] == "none"
    assert trained("file", recipe=tmp_path / "dict" / "recipe.json") == by_dict
    scored = dismax.Model(tmp_path / "file").score(DIGITS / "test.parquet")
    assert pa.table(scored).schema.metadata[b"dismax.tta"] == b"flip"
    with pytest.raises(ValueError, match="unknown field `epoch`"):
        trained("never", recipe={"epoch": 2})


def test_a_head_is_fitted_to_a_network_that_stays(model, tmp_path):
    frozen = dismax.train(
        DIGITS / "train.parquet", out=tmp_path / "frozen", init=model.path, freeze=True, validation=0.2, progress=False
    )
    assert frozen.architecture == model.architecture
    scored = pa.table(frozen.score(DIGITS / "test.parquet"))
    right = [str(label) == guess for label, guess in zip(scored["label"].to_pylist(), scored["prediction"].to_pylist())]
    assert sum(right) > 0.85 * len(right)
    with pytest.raises(ValueError, match="head is what freeze fits"):
        dismax.train(DIGITS / "train.parquet", out=tmp_path / "other", head="mahalanobis")
    with pytest.raises(dismax.Error, match='"epochs" would do nothing'):
        dismax.train(DIGITS / "train.parquet", out=tmp_path / "other", init=model.path, freeze=True, epochs=3)
    with pytest.raises(dismax.ModelError, match="the network to train is a resnet18"):
        dismax.train(DIGITS / "train.parquet", out=tmp_path / "other", init=model.path, arch="resnet18")


def test_a_training_says_what_it_cannot_take(table, tmp_path):
    out = tmp_path / "model"
    with pytest.raises(TypeError, match="Parquet"):
        dismax.train(table, out=out)
    with pytest.raises(ValueError, match="loss"):
        dismax.train(DIGITS / "train.parquet", out=out, loss="nothing")
    with pytest.raises(TypeError, match="epochs"):
        dismax.train(DIGITS / "train.parquet", out=out, epochs="many")
    with pytest.raises(dismax.UsageError, match="validation takes"):
        dismax.train(DIGITS / "train.parquet", out=out, validation=1.5)
    with pytest.raises(dismax.ModelError, match="is written, but not calibrated.*dismax calibrate"):
        dismax.train(DIGITS / "train.parquet", out=out, epochs=1, validation=0.005, flip=False)
    assert (out / "model.safetensors").exists()
    stop = RuntimeError("enough")

    def tell(event):
        raise stop

    with pytest.raises(RuntimeError, match="enough"):
        dismax.train(DIGITS / "train.parquet", out=tmp_path / "stopped", epochs=50, on_event=tell)
    assert not (tmp_path / "stopped").exists()
