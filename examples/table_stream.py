#!/usr/bin/env python3
"""Rows of a Lance, Delta or Iceberg table as an Arrow IPC stream on standard output.

    table_stream.py lance|delta|iceberg TABLE [--catalog NAME] | dismax score - --model MODEL --out scored.parquet

Needs pylance, deltalake or pyiceberg, and pyarrow. `TABLE` is a path or an address; for Iceberg it is NAMESPACE.NAME in the catalog that pyiceberg's own settings name. Memory
is bounded by one record batch of images.
"""

import argparse
import sys

import pyarrow as pa

# Rows of a record batch: images are large.
BATCH_ROWS = 256


def lance(table, _):
    from lance import dataset

    return dataset(table).scanner(batch_size=BATCH_ROWS).to_reader()


def delta(table, _):
    from deltalake import DeltaTable

    rows = DeltaTable(table).to_pyarrow_dataset()
    return pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(batch_size=BATCH_ROWS))


def iceberg(table, catalog):
    from pyiceberg.catalog import load_catalog

    return load_catalog(catalog).load_table(table).scan().to_arrow_batch_reader()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["lance", "delta", "iceberg"])
    parser.add_argument("table")
    parser.add_argument("--catalog", default="default")
    arguments = parser.parse_args()
    reader = {"lance": lance, "delta": delta, "iceberg": iceberg}[arguments.kind](arguments.table, arguments.catalog)
    with pa.ipc.new_stream(sys.stdout.buffer, reader.schema) as stream:
        for batch in reader:
            stream.write_batch(batch)


if __name__ == "__main__":
    main()
