#!/usr/bin/env python3
"""Scores Parquet files of images on Spark and counts the rows that the model does not know.

    spark-submit --master "local-cluster[2,1,1024]" examples/python/spark_job.py INPUT MODEL OUTPUT

This master stands for two workers of one core each on this machine.
"""

import sys

import dismax
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

SCORES = "prediction string, confidence float, ood_score float, is_ood boolean, error string"


def main(source, model, output):
    spark = (
        SparkSession.builder.appName("dismax")
        # Spark counts 4 MB to open a file, so that small files of images would all go to one core.
        .config("spark.sql.files.openCostInBytes", "65536")
        .getOrCreate()
    )
    photos = spark.read.parquet(source)
    # The model travels as its path and digest. Each Python process, one a core, opens it once and needs one thread.
    scorer = dismax.Model(model, workers=1)
    schema = StructType(photos.schema.fields + StructType.fromDDL(SCORES).fields)
    scored = photos.mapInArrow(lambda batches: scorer.map_batches(batches, schema.names), schema)
    scored.write.parquet(output)
    # What was written is counted: `scored.where(...)` would score all images a second time.
    print(spark.read.parquet(output).where("is_ood").count(), "rows flagged")
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
