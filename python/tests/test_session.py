"""SQL over models and tables, in sessions of ours and of the datafusion package."""

import pickle

import datafusion
import polars as pl
import pyarrow as pa
import pytest
from conftest import MIXED, assert_equal

import dismax

SCORES = "id, dismax_prediction(image) AS prediction, dismax_ood_score(image) AS ood_score"


@pytest.fixture(autouse=True)
def nothing_remembered():
    dismax.clear_score_cache()


def test_a_session_scores_tables_and_files(model, table, expected):
    session = dismax.Session(model, photos=pl.from_arrow(table), scored=model.score(MIXED))
    assert sorted(session.tables) == ["photos", "scored"]
    wanted = expected.select(["id", "prediction", "ood_score"])
    for source in ("photos", f"'{MIXED}'"):
        assert_equal(session.sql(f"SELECT {SCORES} FROM {source} ORDER BY id").to_arrow(), wanted)
    assert_equal(session.sql("SELECT id, prediction, ood_score FROM scored ORDER BY id").to_arrow(), wanted)
    session.register("more", table.slice(0, 7))
    session.register("more", table.slice(0, 8))
    assert session.sql("SELECT count(*) AS n FROM more").to_polars()["n"].item() == 8
    assert session.sql("SHOW TABLES").count() > 0


def test_models_are_told_apart_by_their_names(model, digits, table):
    session = dismax.Session(new=digits, old=model, photos=table)
    rows = session.sql(
        "SELECT id FROM photos WHERE dismax_prediction(image, 'new') <> dismax_prediction(image, 'old')"
    ).to_polars()
    assert rows.height == 715
    with pytest.raises(dismax.UsageError, match="'new', 'old'"):
        session.sql("SELECT dismax_prediction(image) FROM photos")
    with pytest.raises(dismax.UsageError, match=r"dismax.Session\(name=model\)"):
        dismax.Session(photos=table).sql("SELECT dismax_prediction(image) FROM photos").count()
    with pytest.raises(dismax.UsageError, match="nothing"):
        session.sql("SELECT * FROM nothing")
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(session)


def test_queries_remember_scores_within_their_bound(model):
    session = dismax.Session(model)
    before = model.images_scored
    query = f"SELECT {SCORES} FROM '{MIXED}' WHERE dismax_is_ood(image)"
    first = session.sql(query).to_arrow()
    assert model.images_scored - before == 715
    cache = dismax.score_cache()
    assert cache["images"] == 721 and 0 < cache["bytes"] < cache["max_bytes"]
    assert dismax.Session(model).sql(query).to_arrow().sort_by("id") == first.sort_by("id")
    assert model.images_scored - before == 715, "another session finds them too"
    assert dismax.score_cache()["images"] == 722, "a row that names a file is looked at each time"
    try:
        dismax.set_score_cache(0)
        assert dismax.score_cache() == {"images": 0, "bytes": 0, "max_bytes": 0}
        session.sql(query).to_arrow()
        assert model.images_scored - before == 2 * 715
    finally:
        dismax.set_score_cache(256 << 20)


def test_two_sessions_run_beside_each_other(model, digits, table):
    one, other = dismax.Session(model, photos=table), dismax.Session(digits, photos=table.slice(0, 100))
    rows = [iter(session.sql("SELECT dismax_prediction(image) AS p FROM photos")) for session in (one, other)]
    assert {next(rows[1]).num_rows, next(rows[0]).num_rows} <= {100, 721}


def test_a_relation_is_a_table_of_datafusion(model, expected):
    context = datafusion.SessionContext()
    context.register_table("scored", model.score(MIXED))
    before = model.images_scored
    rows = context.sql("SELECT id, prediction, ood_score FROM scored WHERE is_ood AND id < 100 ORDER BY id LIMIT 20")
    rows = rows.to_arrow_table()
    assert 90 <= model.images_scored - before <= 100, "its conditions come first, and an image is scored once"
    wanted = expected.filter((pa.compute.field("id") < 100) & pa.compute.field("is_ood")).slice(0, 20)
    assert_equal(rows, wanted.select(["id", "prediction", "ood_score"]))
    before = model.images_scored
    assert context.sql("SELECT count(*) AS n FROM scored").to_pydict() == {"n": [721]}
    assert context.table("scored").select("id").count() == 721
    assert model.images_scored == before
    joined = context.sql("SELECT count(*) AS n FROM scored a JOIN scored b USING (id) WHERE a.prediction = b.prediction")
    assert joined.to_pydict() == {"n": [715]}


def test_functions_are_those_of_datafusion(model, digits, table, expected):
    context = datafusion.SessionContext()
    dismax.register(context, old=model, new=digits)
    context.from_arrow(table, name="photos")
    before = model.images_scored
    rows = context.sql(
        "SELECT id, dismax_prediction(image, 'old') AS prediction, dismax_ood_score(image, 'old') AS ood_score "
        "FROM photos WHERE dismax_is_ood(image, 'old') AND dismax_confidence(image, 'old') > 0 ORDER BY id"
    ).to_arrow_table()
    assert model.images_scored - before == 715, "a filter and a projection score an image once"
    assert_equal(rows, expected.filter(pa.compute.field("is_ood")).select(["id", "prediction", "ood_score"]))
    # Constants cross the border: an alpha, a model, options of aggregates and of the window function.
    [counts] = context.sql(
        "SELECT count(*) FILTER (WHERE dismax_is_ood(image, 0.5, 'old')) AS half, "
        "ece(dismax_prediction(image, 'new') = CAST(digit AS VARCHAR), dismax_confidence(image, 'new'), 10) AS ece, "
        "fpr_at_tpr(digit < 8, -dismax_ood_score(image, 'new'), 0.9) AS fpr, "
        "auroc(digit < 8, -dismax_ood_score(image, 'new')) AS auroc FROM photos"
    ).to_pylist()
    own = dismax.Session(old=model, new=digits, photos=table)
    [wanted] = own.sql(
        "SELECT count(*) FILTER (WHERE dismax_is_ood(image, 0.5, 'old')) AS half, "
        "ece(dismax_prediction(image, 'new') = CAST(digit AS VARCHAR), dismax_confidence(image, 'new'), 10) AS ece, "
        "fpr_at_tpr(digit < 8, -dismax_ood_score(image, 'new'), 0.9) AS fpr, "
        "auroc(digit < 8, -dismax_ood_score(image, 'new')) AS auroc FROM photos"
    ).to_arrow().to_pylist()
    assert counts == pytest.approx(wanted) and counts["half"] > 0
    window = "SELECT count(*) FILTER (WHERE r) AS n FROM (SELECT bh_reject(dismax_ood_p_value(image, 'new'), {}) OVER () AS r FROM photos)"
    for q in (0.05, 0.9):
        assert context.sql(window.format(q)).to_pydict() == own.sql(window.format(q)).to_arrow().to_pydict()
    with pytest.raises(Exception, match="no model 'none'"):
        context.sql("SELECT dismax_prediction(image, 'none') FROM photos").collect()
    with pytest.raises(Exception, match="must be constant"):
        context.sql("SELECT dismax_prediction(image, source) FROM photos").collect()
    assert context.sql("SELECT dismax_prediction(image, 'old') FROM photos WHERE id < 0").count() == 0
