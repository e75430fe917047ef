"""Training in PyTorch as `dismax train` does it: ResNet-20, DisMax with fractional probability regularization, batch 64.

    train.py TRAIN.parquet --image COLUMN --label COLUMN [--rows N] [--epochs N] [--workers N] [--threads N]

Random crop and flip in DataLoader workers, SGD with Nesterov momentum, channels-last. Prints one line of JSON: images of the last
epoch and its seconds, so that start-up and the first passes do not count.
"""

import argparse
import io
import json
import time

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import network

MEAN, STD = (0.491, 0.482, 0.446), (0.247, 0.243, 0.261)


class Rows(Dataset):
    """Images decoded once and kept, as `dismax train` keeps them; cropped and flipped anew each time."""

    def __init__(self, encoded, labels):
        decoded = [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in encoded]
        self.images = np.pad(np.stack(decoded), ((0, 0), (4, 4), (4, 4), (0, 0)))
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        x, y = np.random.randint(0, 9, 2)
        image = self.images[row, y : y + 32, x : x + 32]
        if np.random.rand() < 0.5:
            image = image[:, ::-1]
        return torch.from_numpy(image.copy()), self.labels[row]


def mix(images, labels):
    """Images of the quadrants of four, and the labels of these."""
    mixed = images.clone()
    mixed[:, :, 16:, :16] = images.roll(1, 0)[:, :, 16:, :16]
    mixed[:, :, :16, 16:] = images.roll(2, 0)[:, :, :16, 16:]
    mixed[:, :, 16:, 16:] = images.roll(3, 0)[:, :, 16:, 16:]
    return mixed, torch.stack([labels.roll(by, 0) for by in range(4)], dim=1)


def objective(logits, labels, mixed_labels):
    """Arrays as in `src/loss.rs`: cross-entropy of the plain half, KL divergence of the mixed one."""
    log_p = functional.log_softmax(10 * logits, dim=1)
    plain = len(labels)
    target = torch.zeros(len(mixed_labels), logits.shape[1]).scatter_add_(1, mixed_labels, torch.full(mixed_labels.shape, 0.25))
    divergence = functional.kl_div(log_p[plain:], target, reduction="sum") / len(mixed_labels)
    return (functional.nll_loss(log_p[:plain], labels) + divergence) / 2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("--image", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    table = pq.read_table(arguments.input).slice(0, arguments.rows)
    encoded = table[arguments.image].combine_chunks().field("bytes").to_pylist()
    rows = Rows(encoded, table[arguments.label].to_pylist())
    loader = DataLoader(rows, batch_size=64, shuffle=True, drop_last=True, num_workers=arguments.workers, persistent_workers=arguments.workers > 0)
    net = network.ResNet("resnet20", 10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    mean, std = torch.tensor(MEAN) * 255, torch.tensor(STD) * 255
    for _ in range(arguments.epochs):
        start, count = time.perf_counter(), 0
        for pixels, labels in loader:
            batch = ((pixels.float() - mean) / std).permute(0, 3, 1, 2)
            half = len(batch) // 2
            mixed, mixed_labels = mix(batch[half:], labels[half:])
            logits = net(torch.cat([batch[:half], mixed]).contiguous(memory_format=torch.channels_last))
            optimizer.zero_grad(set_to_none=True)
            objective(logits, labels[:half], mixed_labels).backward()
            optimizer.step()
            count += len(batch)
        seconds = time.perf_counter() - start
    print(json.dumps({"images": count, "seconds": seconds}))


if __name__ == "__main__":
    main()
