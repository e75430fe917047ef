"""Clean datasets, as the command makes them."""

import json
import shutil
from dataclasses import asdict

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import MIXED, run_command
from PIL import Image

import dismax


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    return dismax.audit(MIXED, out=tmp_path_factory.mktemp("clean") / "audit")


@pytest.fixture(scope="module")
def repeated(tmp_path_factory):
    """The digits, five of them twice."""
    table = pq.read_table(MIXED)
    path = tmp_path_factory.mktemp("repeated") / "repeated.parquet"
    pq.write_table(pa.concat_tables([table, table.slice(9, 5)]), path)
    return path


def files(folder):
    return {"keep": folder / "kept.parquet", "removed": folder / "removed.parquet"}


def test_one_of_equal_rows_is_kept(table, tmp_path):
    pq.write_table(pa.concat_tables([table, table.slice(9, 5)]), tmp_path / "repeated.parquet")
    audit = dismax.audit(tmp_path / "repeated.parquet", out=tmp_path / "audit")
    cleaned = dismax.clean(audit, drop=(), keep_one="exact_duplicate", dry_run=True)
    assert (cleaned.rows, cleaned.removed, cleaned.sets) == (726, 5, 5)


def test_rows_are_divided_as_the_command_divides_them(repeated, tmp_path):
    audit = dismax.audit(repeated, out=tmp_path / "audit")
    counted = dismax.clean(audit, drop=["broken", "blurred"], keep_one="exact_duplicate", dry_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["audit"]
    cleaned = dismax.clean(audit, drop=["broken", "blurred"], keep_one="exact_duplicate", **files(tmp_path))
    assert cleaned == counted and cleaned.kept + cleaned.removed == cleaned.rows == 726
    assert cleaned.by_kind["blurred"] == 2 and cleaned.sets == 5
    outputs = [tmp_path / "k.parquet", tmp_path / "r.parquet"]
    done = run_command(
        "clean", audit.path, "--drop", "broken,blurred", "--keep-one", "exact_duplicate",
        "--out", outputs[0], "--removed", outputs[1], "--json",
    )
    assert done.returncode == 0, done.stderr
    assert {**json.loads(done.stdout), **asdict(cleaned)} == json.loads(done.stdout)
    kept, removed = (pq.read_table(path) for path in files(tmp_path).values())
    assert (kept, removed) == tuple(pq.read_table(path) for path in outputs)
    both = pa.concat_tables([kept, removed.select(kept.column_names)]).sort_by("id")
    assert both.equals(pq.read_table(repeated).sort_by("id"))
    assert set(removed.column_names) - set(kept.column_names) == {"removed_kinds", "removed_evidence", "kept_file", "kept_row"}

    again = dismax.audit(tmp_path / "kept.parquet", out=tmp_path / "again", fail_on="broken>0,exact_duplicate>0")
    again.gate.raise_for_failure()
    assert dismax.clean(again.path, drop=(), dry_run=True).removed == 0


def test_one_of_like_pictures_is_kept(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        y, x = numpy.mgrid[0:64, 0:64] / 64
        waves = numpy.sin((5 + 3 * number) * x + 4 * numpy.sin(5 * y)) + numpy.cos(13 * y - number * x)
        pixels = 120 + 45 * waves[..., None] * [1, 0.8, 0.6]
        Image.fromarray(pixels.astype("uint8")).save(photos / f"{number}.png")
    Image.open(photos / "2.png").save(photos / "copy.jpg", quality=60)
    audit = dismax.audit(photos, out=tmp_path / "audit")
    cleaned = dismax.clean(audit, drop=(), keep_one="near_duplicate", **files(tmp_path))
    assert (cleaned.rows, cleaned.removed, cleaned.sets) == (5, 1, 1)


def test_accepted_findings_remove_nothing(audit, tmp_path):
    blurred = audit.findings.where("kind = 'blurred'").to_arrow()["image_digest"].to_pylist()
    (tmp_path / "accepted.csv").write_text(f"image_digest,kind\n{blurred[0]},blurred\n")
    cleaned = dismax.clean(audit, drop="blurred", accept=tmp_path / "accepted.csv", dry_run=True)
    assert (cleaned.removed, cleaned.by_kind) == (1, {"blurred": 1})


def test_tables_are_given_again(audit, table, tmp_path):
    of_table = dismax.audit(table, out=tmp_path / "audit")
    with pytest.raises(dismax.UsageError, match="came from a table, .* data=table"):
        dismax.clean(of_table, **files(tmp_path))
    cleaned = dismax.clean(of_table, data=table, **files(tmp_path))
    assert cleaned == dismax.clean(audit, dry_run=True) and cleaned.removed == 6
    assert pq.read_table(tmp_path / "kept.parquet").num_rows == cleaned.kept
    # Rows that are not those of the audit.
    for other, message in [(table.slice(0, 720), "made of 721 rows, but the files hold 720"), (table.sort_by([("id", "descending")]), "another image")]:
        with pytest.raises(dismax.DataError, match=message):
            dismax.clean(of_table, data=other, overwrite=True, **files(tmp_path))
    assert pq.read_table(tmp_path / "kept.parquet").num_rows == cleaned.kept


def test_files_that_moved_are_named(tmp_path):
    (tmp_path / "before").mkdir()
    shutil.copy(MIXED, tmp_path / "before" / "photos.parquet")
    audit = dismax.audit(tmp_path / "before" / "photos.parquet", out=tmp_path / "audit")
    (tmp_path / "before").rename(tmp_path / "after")
    with pytest.raises(dismax.DataError, match="before"):
        dismax.clean(audit, **files(tmp_path))
    moved = tmp_path / "after" / "photos.parquet"
    with pytest.raises(dismax.OutputError, match="give one of them another name"):
        dismax.clean(audit, data=moved, keep=moved, removed=tmp_path / "removed.parquet", overwrite=True)
    assert dismax.clean(audit, data=moved, **files(tmp_path)).removed == 6
    with pytest.raises(dismax.OutputError, match="overwrite=True"):
        dismax.clean(audit, data=moved, **files(tmp_path))
    assert dismax.clean(audit, data=[moved], drop="any", overwrite=True, **files(tmp_path)).removed > 6


def test_what_cannot_be_removed_is_refused(audit, tmp_path):
    with pytest.raises(TypeError, match="keep and removed.*dry_run=True"):
        dismax.clean(audit, keep=tmp_path / "kept.parquet")
    with pytest.raises(dismax.UsageError, match='"blury": the kinds are'):
        dismax.clean(audit, drop="blury", dry_run=True)
    with pytest.raises(dismax.UsageError, match="leaked is not looked for without a reference"):
        dismax.clean(audit, drop="leaked", dry_run=True)
    with pytest.raises(dismax.UsageError, match='keep_one takes exact_duplicate and near_duplicate, not "blurred"'):
        dismax.clean(audit, keep_one="blurred", dry_run=True)
    with pytest.raises(dismax.UsageError, match="name two"):
        dismax.clean(audit, keep="-", removed=tmp_path / "removed.parquet")
    with pytest.raises(dismax.DataError, match="not an audit"):
        dismax.clean(tmp_path, dry_run=True)
    assert not list(tmp_path.iterdir())
