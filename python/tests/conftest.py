"""Data, models and the command that the tests compare with."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dismax

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples/data/digits"
# Known and unknown digits, and six rows that cannot be scored: id, image, digit, source.
MIXED = DIGITS / "mixed.parquet"
CIFAR10 = ROOT / "models/cifar10-resnet20"
APPENDED = ["prediction", "confidence", "probabilities", "ood_score", "ood_p_value", "is_ood", "error"]


@pytest.fixture(scope="session")
def model():
    return dismax.Model(CIFAR10)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A model of digits, trained for a moment."""
    out = tmp_path_factory.mktemp("digits") / "model"
    return dismax.train(DIGITS / "train.parquet", out=out, epochs=3, flip=False, validation=DIGITS / "validation.parquet")


@pytest.fixture(scope="session")
def table():
    return pq.read_table(MIXED)


def run_command(*words, **options):
    """The command of the package, in a process of its own."""
    program = "from dismax._command import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, timeout=300, **options
    )


def run_program(program, **options):
    """A Python program in a process of its own."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="session")
def expected(tmp_path_factory):
    """What the command writes for the mixed digits."""
    out = tmp_path_factory.mktemp("expected") / "scored.parquet"
    done = run_command("--quiet", "score", MIXED, "--model", CIFAR10, "--out", out)
    assert done.returncode == 0, done.stderr
    return pq.read_table(out)


def plain(table) -> pa.Table:
    """Columns without metadata, dictionaries, views or large types: libraries differ in these, not in values."""

    def simple(kind):
        if pa.types.is_dictionary(kind):
            return simple(kind.value_type)
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            return pa.string()
        if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
            return pa.binary()
        if pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list(kind):
            return pa.list_(simple(kind.value_type))
        if pa.types.is_struct(kind):
            return pa.struct([pa.field(field.name, simple(field.type)) for field in kind])
        return kind

    table = pa.table(table)
    columns = [column.combine_chunks().cast(simple(column.type)) for column in table.columns]
    return pa.table(columns, names=table.column_names)


def assert_equal(scored, expected, columns=None):
    """The same rows in the same order, floats to the last bit."""
    scored, expected = plain(scored), plain(expected)
    columns = columns or expected.column_names
    assert scored.num_rows == expected.num_rows
    for name in columns:
        assert scored[name].equals(expected[name]), name
