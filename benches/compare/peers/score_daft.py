"""Daft: Parquet of encoded images in, Parquet with columns out, its own image decoder, PyTorch in a batch function."""

import argparse
import json
import pathlib
import time

import daft
import numpy as np
import torch
from daft import DataType, col

import images
import network


@daft.cls
class Scorer:
    def __init__(self, model, threads):
        torch.set_num_threads(threads)
        self.settings = network.config(model)["preprocessing"]
        self.temperature = json.loads((pathlib.Path(model) / "calibration.json").read_text())["temperature"]
        self.network = network.folded(network.load(model)[0]).to(memory_format=torch.channels_last)

    @daft.method.batch(
        return_dtype=DataType.struct(
            {
                "prediction": DataType.int64(),
                "confidence": DataType.float32(),
                "probabilities": DataType.list(DataType.float32()),
                "ood_score": DataType.float32(),
            }
        ),
        batch_size=64,
    )
    def score(self, pixels):
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(pixels.to_pylist()))
            logits = self.network(images.normalise(batch, self.settings))
            columns = images.columns(logits, self.temperature)
        names = ["prediction", "confidence", "probabilities", "ood_score"]
        rows = zip(*(column.tolist() for column in columns))
        return [dict(zip(names, row)) for row in rows]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--image", required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    start = time.perf_counter()
    settings = network.config(arguments.model)["preprocessing"]
    pixels = daft.functions.decode_image(col(arguments.image)["bytes"], mode="RGB")
    if settings["resize"]["rule"] != "exact" or settings["height"] != 32:
        pixels = daft.functions.resize(pixels, settings["width"], settings["height"])
    scorer = Scorer(arguments.model, arguments.threads)
    frame = daft.read_parquet(arguments.input).with_column("scored", scorer.score(pixels))
    frame.write_parquet(arguments.output, compression="zstd")
    count = daft.read_parquet(arguments.input).count_rows()
    print(json.dumps({"images": count, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
