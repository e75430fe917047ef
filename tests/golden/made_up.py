"""Numbers that follow from names, so that no weights and images need to be kept."""

import zlib

import numpy
import torch


def unit(name, count):
    """Values in [-0.5, 0.5) that follow from a name."""
    values = numpy.arange(count, dtype=numpy.uint64) * 2654435761 + zlib.crc32(name.encode())
    values = (values & 0xFFFFFFFF).astype(numpy.uint32)
    values ^= values >> 16
    values *= numpy.uint32(0x45D9F3B)
    values ^= values >> 16
    return values / 2.0**32 - 0.5


def weight(name, shape):
    drawn = unit(name, int(numpy.prod(shape)))
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        drawn = 1 + 0.5 * drawn
    elif last in ("running_mean", "bias"):
        drawn = 0.2 * drawn
    elif len(shape) == 4:
        drawn = 2 * drawn * (6 / (shape[1] * shape[2] * shape[3])) ** 0.5
    else:
        drawn = 1 + 0.2 * drawn
    return torch.from_numpy(drawn.astype(numpy.float32)).view(shape)
