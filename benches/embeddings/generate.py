#!/usr/bin/env python3
"""Writes many embeddings that look like real ones: classes apart, and numbers that vary together.

    benches/embeddings/generate.py million.parquet --rows 1000000 --dimensions 768
"""

import argparse

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CHUNK = 20_000


def main():
    """Reads the arguments, and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="Parquet file to write")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=768)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    random = np.random.default_rng(options.seed)
    size = options.dimensions
    means = random.standard_normal((options.classes, size), np.float32) * 0.4 + random.standard_normal(size, np.float32)
    # Variances fall off as those of a trained network do, in directions of their own.
    directions = np.linalg.qr(random.standard_normal((size, size)))[0].astype(np.float32)
    directions *= (1.0 / np.sqrt(1.0 + np.arange(size) / 8.0)).astype(np.float32)[:, None]
    schema = pa.schema([("embedding", pa.list_(pa.float32(), size)), ("label", pa.int64())])
    with pq.ParquetWriter(options.out, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, options.rows, CHUNK):
            count = min(CHUNK, options.rows - start)
            labels = random.integers(0, options.classes, count)
            rows = random.standard_normal((count, size), np.float32) @ directions + means[labels]
            values = pa.array(rows.reshape(-1), pa.float32())
            writer.write_table(
                pa.table([pa.FixedSizeListArray.from_arrays(values, size), pa.array(labels)], schema=schema)
            )


if __name__ == "__main__":
    main()
