"""A careful PyTorch script: Parquet of encoded images in, Parquet with columns out.

Decoding in DataLoader workers, batches of u8, channels-last, batch norm folded, inference mode. Prints one line of JSON.
"""

import argparse
import json
import pathlib
import time

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, Dataset

import images
import network


class Rows(Dataset):
    def __init__(self, column, preprocess):
        self.column, self.preprocess = column, preprocess

    def __len__(self):
        return len(self.column)

    def __getitem__(self, row):
        return torch.from_numpy(self.preprocess(self.column[row].as_py()).copy())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--image", required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    start = time.perf_counter()
    torch.set_num_threads(arguments.threads)
    settings = network.config(arguments.model)["preprocessing"]
    temperature = json.loads((pathlib.Path(arguments.model) / "calibration.json").read_text())["temperature"]
    cuda = arguments.device == "cuda"
    net = network.folded(network.load(arguments.model)[0]).to(memory_format=torch.channels_last, device=arguments.device)
    if cuda:
        net = net.to(torch.bfloat16)
    preprocess = images.Preprocess(settings)
    table = pq.ParquetFile(arguments.input)
    writer, count = None, 0
    with torch.inference_mode():
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group)
            column = rows[arguments.image].combine_chunks().field("bytes")
            loader = DataLoader(Rows(column, preprocess), batch_size=arguments.batch, num_workers=arguments.workers, pin_memory=cuda)
            logits = []
            for pixels in loader:
                batch = images.normalise(pixels.to(arguments.device, non_blocking=True).cpu() if not cuda else pixels, settings)
                batch = batch.to(arguments.device, non_blocking=True)
                logits.append(net(batch.to(torch.bfloat16) if cuda else batch).float().cpu())
            prediction, confidence, probabilities, score = images.columns(torch.cat(logits), temperature)
            classes = probabilities.shape[1]
            flat = pa.array(probabilities.flatten().numpy())
            scored = rows.append_column("prediction", pa.array(prediction.numpy()))
            scored = scored.append_column("confidence", pa.array(confidence.numpy()))
            scored = scored.append_column("probabilities", pa.FixedSizeListArray.from_arrays(flat, classes))
            scored = scored.append_column("ood_score", pa.array(score.numpy()))
            writer = writer or pq.ParquetWriter(arguments.output, scored.schema, compression="zstd")
            writer.write_table(scored)
            count += len(column)
    writer.close()
    print(json.dumps({"images": count, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
