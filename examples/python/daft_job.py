#!/usr/bin/env python3
"""Scores Parquet files of images on Daft and counts the rows that the model does not know.

    python examples/python/daft_job.py INPUT MODEL OUTPUT [IMAGE_COLUMN]

Runs on this machine; with DAFT_RUNNER=ray on Ray, with RAY_ADDRESS on that cluster.
"""

import sys

import daft
import dismax
import pyarrow as pa
from daft import DataType

SCORES = {
    "prediction": DataType.string(),
    "confidence": DataType.float32(),
    "ood_score": DataType.float32(),
    "is_ood": DataType.bool(),
    "error": DataType.string(),
}


# Two workers, each a process of its own.
@daft.cls(max_concurrency=2, use_process=True)
class Scorer:
    def __init__(self, model):
        self.model = model

    @daft.method.batch(return_dtype=DataType.struct(SCORES), unnest=True, batch_size=1000)
    def score(self, images):
        scored = self.model.map_batches(pa.table({"image": images.to_arrow()}), list(SCORES))
        return scored.combine_chunks().to_struct_array()


def main(source, model, output, image="image"):
    photos = daft.read_parquet(source)
    # The model travels as its path and digest. Each worker, one a core, opens it once and needs one thread.
    scorer = Scorer(dismax.Model(model, workers=1))
    scored = photos.select(*photos.column_names, scorer.score(photos[image]))
    scored.write_parquet(output)
    # What was written is counted: counting `scored` would score all images a second time.
    print(daft.read_parquet(output).where("is_ood").count_rows(), "rows flagged")


if __name__ == "__main__":
    main(*sys.argv[1:])
