"""Files of other writers: footers are looked at before they are read, and none of these may be taken for damaged."""

import datetime
import decimal
import uuid

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DIGITS

ROWS = 3


def images():
    return pq.read_table(DIGITS / "test.parquet", columns=["image"]).slice(0, ROWS)


def table():
    """Images beside columns of every logical type that a schema names."""
    times = [1000, 2000, 3000]
    columns = {
        "flag": pa.array([True, None, False]),
        "small": pa.array([1, None, 3], pa.int8()),
        "unsigned": pa.array([1, None, 3], pa.uint64()),
        "half": pa.array([1.0, None, 2.0], pa.float16()),
        "decimal": pa.array([decimal.Decimal("1.23")] * ROWS, pa.decimal128(20, 2)),
        "date": pa.array([datetime.date(2020, 1, 1)] * ROWS),
        "time": pa.array(times, pa.time64("us")),
        "zoned": pa.array(times, pa.timestamp("us", "UTC")),
        "local": pa.array(times, pa.timestamp("ms")),
        "fixed": pa.array([b"abcd"] * ROWS, pa.binary(4)),
        "uuid": pa.array([uuid.UUID(int=number).bytes for number in range(ROWS)], pa.uuid()),
        "json": pa.array(["{}"] * ROWS, pa.json_()),
        "nested": pa.array([{"a": {"b": [1]}}] * ROWS),
        "map": pa.array([[("key", 1)], [], None], pa.map_(pa.string(), pa.int32())),
        "dictionary": pa.array(["x", "y", "x"]).dictionary_encode(),
        "nothing": pa.nulls(ROWS),
    }
    made = images()
    for name, column in columns.items():
        made = made.append_column(name, column)
    return made


def by_pyarrow(path, version, pages):
    sorting = [pq.SortingColumn(2)]
    extras = {"write_page_index": True, "write_page_checksum": True, "sorting_columns": sorting}
    pq.write_table(table(), path, version=version, data_page_version=pages, **extras)


def by_duckdb(path):
    rows = images()  # noqa: F841 - DuckDB finds it by its name
    types = "1::TINYINT t, 2::HUGEINT h, uuid() u, [1] l, {'a': 1} s, MAP{'k': 1} m, 1.5::DECIMAL(9, 3) d, true b, '{}'::JSON j"
    duckdb.sql(f"COPY (SELECT *, {types} FROM rows) TO '{path}' (FORMAT parquet)")


def by_polars(path):
    pl.from_arrow(images()).with_columns(c=pl.Series(["u", "v", "u"], dtype=pl.Categorical)).write_parquet(path)


WRITERS = {f"pyarrow-{version}-{pages}": (by_pyarrow, version, pages) for version in ("1.0", "2.4", "2.6") for pages in ("1.0", "2.0")}
WRITERS |= {"duckdb": (by_duckdb,), "polars": (by_polars,)}


@pytest.mark.parametrize("name", WRITERS)
def test_a_sound_footer_is_read(name, model, tmp_path):
    write, *options = WRITERS[name]
    path = tmp_path / f"{name}.parquet"
    write(path, *options)
    expected = pa.table(model.score(DIGITS / "test.parquet"))["prediction"].slice(0, ROWS).to_pylist()
    scored = pa.table(model.score(path))
    assert scored["error"].null_count == ROWS
    assert scored["prediction"].to_pylist() == expected
