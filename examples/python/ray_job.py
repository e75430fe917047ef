#!/usr/bin/env python3
"""Scores Parquet files of images on Ray Data and counts the rows that the model does not know.

    python examples/python/ray_job.py INPUT MODEL OUTPUT

Starts Ray with two cores on this machine, or goes to the cluster that RAY_ADDRESS names.
"""

import os
import sys

import dismax
import ray

SCORES = ["prediction", "confidence", "ood_score", "is_ood", "error"]
WORKERS = 2


class Scorer:
    """An actor: a process that has the model and scores one batch after the other."""

    def __init__(self, model):
        self.model = model

    def __call__(self, photos):
        return self.model.map_batches(photos, photos.column_names + SCORES)


def main(source, model, output):
    ray.init(num_cpus=None if "RAY_ADDRESS" in os.environ else WORKERS)
    # A batch is a whole block of 128 MiB, unless told otherwise: small images would all go to one actor.
    ray.data.DataContext.get_current().target_max_block_size = 1 << 20
    # The model travels as its path and digest. Each actor, one a core, opens it once and needs one thread.
    model = dismax.Model(model, workers=1)
    scored = ray.data.read_parquet(source).map_batches(
        Scorer,
        fn_constructor_args=[model],
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=WORKERS),
        # Actors keep what they reserve. Two whole cores of two leave none to read with, and the job would never begin.
        num_cpus=0.5,
    )
    scored.write_parquet(output)
    # What was written is counted: counting `scored` would score all images a second time.
    print(ray.data.read_parquet(output, columns=["is_ood"]).sum("is_ood"), "rows flagged")


if __name__ == "__main__":
    main(*sys.argv[1:])
