"""A model folder with drawn weights: speed does not depend on what they are.

    make_model.py ARCHITECTURE OUT --data LABELLED.parquet --image COLUMN --dismax PATH

Imports the weights, and calibrates on so many rows of the data. Their labels are the network's own predictions, but for every fifth:
a network that knows nothing has no temperature.
"""

import argparse
import pathlib
import subprocess
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

import images
import network


def labelled(folder, encoded):
    settings = network.config(folder)["preprocessing"]
    preprocess, net = images.Preprocess(settings), network.load(folder)[0]
    labels = []
    with torch.inference_mode():
        for start in range(0, len(encoded), 20):
            pixels = torch.stack([torch.from_numpy(preprocess(one).copy()) for one in encoded[start : start + 20]])
            labels += net(images.normalise(pixels, settings)).argmax(dim=1).tolist()
    return [(label + (row % 5 == 0)) % 10 for row, label in enumerate(labels)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("architecture", choices=network.ARCHITECTURES)
    parser.add_argument("out")
    parser.add_argument("--data", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--dismax", required=True)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    net = network.of(arguments.architecture, 10)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    with tempfile.TemporaryDirectory() as folder:
        weights, rows = pathlib.Path(folder) / "weights.safetensors", pathlib.Path(folder) / "rows.parquet"
        save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items() if "num_batches" not in name}, weights)
        table = pq.read_table(arguments.data, columns=[arguments.image]).slice(0, arguments.rows)
        names = ",".join(f"class{index}" for index in range(10))
        make = ["import", str(weights), "--arch", arguments.architecture, "--loss", "dismax", "--classes", names, "--out", arguments.out, "--force"]
        subprocess.run([arguments.dismax, "--quiet", *make], check=True)
        labels = pa.array(labelled(arguments.out, table[arguments.image].combine_chunks().field("bytes").to_pylist()))
        pq.write_table(table.append_column("label", labels), rows)
        subprocess.run([arguments.dismax, "--quiet", "calibrate", arguments.out, "--data", str(rows)], check=True)


if __name__ == "__main__":
    main()
