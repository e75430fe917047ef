"""Relations: lazy, re-readable, and as little work as the question needs."""

import pickle

import pyarrow as pa
import pytest
from conftest import APPENDED, MIXED, assert_equal

import dismax


class Counted:
    """Images that a model scored since the last question."""

    def __init__(self, model):
        self.model, self.before = model, model.images_scored

    def __call__(self):
        before, self.before = self.before, self.model.images_scored
        return self.before - before


def test_nothing_is_scored_before_it_is_asked_for(model):
    scored = Counted(model)
    relation = model.score(MIXED)
    assert relation.columns == ["id", "image", "digit", "source", *APPENDED]
    assert relation.schema.names == relation.columns and "is_ood" in relation.schema and len(relation.schema) == 11
    unknown = relation.where("is_ood").select("id")
    assert scored() == 0
    assert unknown.count() == unknown.to_arrow().num_rows
    assert scored() == 2 * 715, "each reading scores each image once"
    assert relation.select("id", "digit").count() == 721
    assert relation.count() == 721
    assert scored() == 0, "no column of scores, no images"


def test_conditions_on_the_input_come_first(model, expected):
    scored = Counted(model)
    few = model.score(MIXED).where("is_ood AND id < 100").select("id", "confidence")
    rows = few.to_arrow()
    assert 90 <= scored() <= 100
    wanted = expected.filter((pa.compute.field("id") < 100) & pa.compute.field("is_ood")).select(["id", "confidence"])
    assert_equal(rows, wanted)
    assert model.score(MIXED).limit(5).to_arrow().num_rows == 5
    assert scored() <= 5


def test_a_relation_is_read_again_and_again(model, expected):
    relation = model.score(MIXED).select(*APPENDED)
    for _ in range(2):
        assert_equal(relation.to_arrow(), expected.select(APPENDED))
    once = model.score(iter(pa.table(dismax.read(MIXED)).to_batches(100)))
    assert once.count() == 721
    with pytest.raises(ValueError, match="read once"):
        once.count()


def test_what_can_be_read_once_says_so(model, table):
    for data in (table.to_reader(100), iter(table.to_batches(100))):
        once = model.score(data).select("id")
        assert once._repr_html_() is None, "to show rows would take them away"
        assert once.count() == 721
        with pytest.raises(ValueError, match="read once"):
            once.to_arrow()
    for data in (table.to_batches(100), tuple(table.to_batches(100))):
        again = model.score(data).select("id")
        assert [again.count(), again.count()] == [721, 721]


def test_tables_of_an_iterator_may_differ_in_metadata(model, table):
    tables = (table.slice(start, 100).replace_schema_metadata({"part": str(start)}) for start in (0, 100, 200))
    assert model.score(tables).select("id").to_arrow()["id"].to_pylist() == table["id"].to_pylist()[:300]


def test_batches_of_other_columns_are_refused(model, table):
    swapped = table.select(["id", "image", "source", "digit"])
    with pytest.raises(dismax.DataError, match="a later one id .*source .*digit"):
        model.score([table.slice(0, 5), swapped.slice(5, 5)]).select("id", "source").to_arrow()
    with pytest.raises(dismax.UsageError, match="at most"):
        model.score(table, batch_rows=10**12)


def test_a_relation_can_be_scored_again(model, table):
    two = table.append_column("other", table["image"])
    with pytest.raises(dismax.UsageError, match="image"):
        model.score(two)
    chosen = dismax.read(two).select("id", "image AS picture")
    assert model.score(chosen).select("prediction").limit(3).to_arrow() == model.score(two, image="image").select(
        "prediction"
    ).limit(3).to_arrow()
    from_file = dismax.read(MIXED).select("id", "image AS picture")
    assert model.score(from_file).select("picture", "prediction").limit(3).count() == 3
    assert model.score(from_file, image="picture").columns[:2] == ["id", "picture"]


def test_two_openings_of_a_model_do_their_own_work(model):
    other = dismax.Model(model.path, max_pixels=10)
    both = other.score(model.score(MIXED), prefix="small_").select("error", "small_error").limit(20)
    errors = both.to_arrow().to_pydict()
    assert errors["error"] == [None] * 20 and all("too_many_pixels" in error for error in errors["small_error"])


def test_columns_and_conditions_are_names_or_sql(model):
    table = pa.table(dismax.read(MIXED)).rename_columns(["Id", "my image", "digit", "source"])
    relation = model.score(table).select("Id", "my image", "1 - confidence AS doubt", "upper(source) AS place")
    assert relation.columns == ["Id", "my image", "doubt", "place"]
    assert relation.where("Id < 3").select("Id").to_arrow()["Id"].to_pylist() == [0, 1, 2]
    with pytest.raises(dismax.UsageError, match="nothing"):
        relation.where("nothing > 1")
    with pytest.raises(dismax.UsageError):
        relation.where("Id <")
    with pytest.raises(dismax.UsageError, match="column"):
        relation.select()


def test_limits_have_offsets(model, table):
    rows = model.score(MIXED).limit(3, offset=10).select("id").to_arrow()
    assert rows["id"].to_pylist() == table["id"].to_pylist()[10:13]


def test_batches_have_the_size_that_was_asked_for(model):
    sizes = [batch.num_rows for batch in model.score(MIXED, batch_rows=256)]
    assert sizes == [256, 256, 209]
    batch = next(iter(model.score(MIXED)))
    assert len(batch) == batch.num_rows == 721 and "721 rows" in repr(batch)
    assert batch.schema.names[:2] == ["id", "image"]


def test_a_file_appears_whole_or_not_at_all(model, tmp_path):
    out = tmp_path / "scored.parquet"

    def failing():
        batches = pa.table(dismax.read(MIXED)).to_batches(100)
        yield from batches[:3]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        model.score(failing()).write(out)
    assert list(tmp_path.iterdir()) == []
    model.score(MIXED).limit(10).write(out)
    with pytest.raises(dismax.OutputError, match="overwrite=True"):
        model.score(MIXED).write(out)
    assert dismax.read(out).count() == 10
    with pytest.raises(dismax.OutputError, match="is read"):
        dismax.read(out).write(out, overwrite=True)
    model.score(MIXED).limit(11).write(out, overwrite=True)
    assert dismax.read(out).count() == 11
    with pytest.raises(dismax.UsageError, match="extension"):
        model.score(MIXED).write(tmp_path / "scored.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["scored.parquet"]


def test_explain_says_what_is_computed(model):
    plan = model.score(MIXED).where("is_ood AND id < 9").select("id").explain()
    assert plan.count("ScoreExec") == 1 and "is_ood" in plan and "probabilities" not in plan
    assert "images=" in model.score(MIXED).select("is_ood").explain(analyze=True)


def test_notebooks_show_rows_with_their_images(model):
    page = model.score(MIXED)._repr_html_()
    assert page.count("<tr>") == 11 and page.count("data:image/jpeg;base64,") == 10 and "is_ood" in page
    escaped = dismax.read(pa.table({"a": ["<script>"]}))._repr_html_()
    assert "<script>" not in escaped and "&lt;script&gt;" in escaped
    assert repr(model.score(MIXED)).startswith("<dismax.Relation: id, image")


def test_what_has_no_meaning_says_so(model):
    relation = model.score(MIXED)
    with pytest.raises(TypeError, match="pickle its model"):
        pickle.dumps(relation)
    with pytest.raises(TypeError, match=r"count\(\)"):
        len(relation)


def test_everything_explains_itself():
    for name in dismax.__all__:
        thing = getattr(dismax, name)
        assert thing.__doc__ and len(thing.__doc__) > 20, name
        for member, value in vars(thing).items() if isinstance(thing, type) else ():
            if not member.startswith("_"):
                assert value.__doc__, f"{name}.{member}"
