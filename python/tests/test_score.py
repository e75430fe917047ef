"""Every kind of input and every library that reads gives the values that the command writes, to the last bit."""

import datasets
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import APPENDED, DIGITS, MIXED, assert_equal, plain

import dismax


def huggingface(table):
    return datasets.Dataset.from_parquet(str(MIXED))


INPUTS = {
    "path": lambda table: MIXED,
    "text": lambda table: str(MIXED),
    "pattern": lambda table: str(DIGITS / "mixe*.parquet"),
    "list of paths": lambda table: [MIXED],
    "pyarrow table": lambda table: table,
    "pyarrow reader": lambda table: table.to_reader(100),
    "list of record batches": lambda table: table.to_batches(100),
    "generator": lambda table: (batch for batch in table.to_batches(100)),
    "polars": lambda table: pl.from_arrow(table),
    "pandas": lambda table: table.to_pandas(),
    "duckdb": lambda table: duckdb.sql(f"FROM '{MIXED}' ORDER BY id"),
    "relation": lambda table: dismax.read(MIXED),
    "hugging face": huggingface,
}


@pytest.mark.parametrize("kind", INPUTS)
def test_any_input_gives_what_the_command_writes(model, table, expected, kind):
    scored = pa.table(model.score(INPUTS[kind](table)))
    assert_equal(scored, expected, APPENDED)
    assert scored.column_names == expected.column_names
    assert_equal(scored.select(["id", "source"]), expected.select(["id", "source"]))


READERS = {
    "polars": lambda scored: pl.DataFrame(scored).to_arrow(),
    "to_polars": lambda scored: scored.to_polars().to_arrow(),
    "pandas": lambda scored: pa.Table.from_pandas(pd.DataFrame.from_arrow(scored), preserve_index=False),
    "to_pandas": lambda scored: pa.Table.from_pandas(scored.to_pandas(), preserve_index=False),
    "duckdb": lambda scored: duckdb.sql("FROM scored").to_arrow_table(),
    "pyarrow": pa.table,
    "to_arrow": lambda scored: scored.to_arrow(),
    "pyarrow reader": lambda scored: pa.RecordBatchReader.from_stream(scored).read_all(),
    "iteration": lambda scored: pa.Table.from_batches([pa.record_batch(batch) for batch in scored]),
}


@pytest.mark.parametrize("reader", READERS)
def test_any_library_reads_what_the_command_writes(model, expected, reader):
    columns = ["id", "prediction", "confidence", "ood_score", "ood_p_value", "error"]
    scored = model.score(MIXED).select(*columns)
    read = READERS[reader](scored)
    # pandas has no nulls of its own: what is missing is not a number.
    if "pandas" in reader:
        fields = {"prediction": pa.string(), "error": pa.string()}
        known = plain(expected.select(columns))
        read = plain(read).cast(pa.schema([(field.name, fields.get(field.name, field.type)) for field in known.schema]))
    assert_equal(read, expected.select(columns))


def test_a_written_file_is_what_the_command_writes(model, expected, tmp_path):
    import pyarrow.parquet as pq

    out = tmp_path / "scored.parquet"
    assert model.score(MIXED).write(out, progress=False) == expected.num_rows
    written = pq.read_table(out)
    assert_equal(written, expected)
    assert written.schema.metadata == expected.schema.metadata


def test_rows_of_a_hugging_face_dataset_are_those_that_it_shows(model, table, expected):
    chosen = datasets.Dataset(table).shuffle(seed=1).select(range(100))
    scored = model.score(chosen).select("id", "prediction", "ood_score").to_arrow()
    rows = expected.take(pa.array(chosen["id"])) if expected["id"].to_pylist() == list(range(expected.num_rows)) else None
    assert rows is not None, "ids are row numbers"
    assert_equal(scored, rows.select(["id", "prediction", "ood_score"]))
    # Again: it is read anew.
    assert model.score(chosen).count() == 100


def test_prefix_and_alpha(model):
    scored = model.score(MIXED, prefix="new_", alpha=0.2)
    assert [name for name in scored.columns if name.startswith("new_")] == [f"new_{name}" for name in APPENDED]
    rows = scored.select("new_is_ood", "new_ood_p_value").to_arrow()
    flags = [None if p is None else p <= 0.2 for p in rows["new_ood_p_value"].to_pylist()]
    assert rows["new_is_ood"].to_pylist() == flags
    assert scored.schema.metadata["dismax.new_alpha"] == "0.2"
    twice = model.score(scored)
    assert "prediction" in twice.columns and "new_prediction" in twice.columns


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("nothing.parquet",), dismax.DataError, "nothing.parquet: no such file"),
        ((pa.table({"a": [1]}),), dismax.UsageError, "image"),
        ((3,), TypeError, "__arrow_c_stream__"),
        (([],), ValueError, "empty list"),
        ((iter([]),), ValueError, "no record batch"),
        ((iter([3]),), TypeError, "gives int"),
        ((pl.LazyFrame({"a": [1]}),), TypeError, "collect()"),
    ],
)
def test_what_cannot_be_scored_says_why(model, arguments, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(").replace(")", r"\)")):
        model.score(*arguments)


def test_names_that_are_taken_say_the_way_out(model, expected):
    with pytest.raises(dismax.UsageError, match='prefix="dismax_"'):
        model.score(expected)
    with pytest.raises(dismax.UsageError, match="alpha"):
        model.score(MIXED, alpha=2.0)
    with pytest.raises(ValueError, match="on_bad_file"):
        model.score(MIXED, on_bad_file="perhaps")
    with pytest.raises(dismax.UsageError, match="image"):
        model.score(MIXED, image="digit")
