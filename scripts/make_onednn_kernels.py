#!/usr/bin/env python3
"""Writes src/network/fused/onednn.pt: a TorchScript module that names oneDNN's fused convolutions.

libtorch has these operators and no function of its C++ interface for them; a script can call any operator by name. Needs torch.

    scripts/make_onednn_kernels.py
"""

import io
import pathlib
import zipfile
from typing import List, Optional, Union

import torch

PLACE = pathlib.Path(__file__).resolve().parent.parent / "src" / "network" / "fused" / "onednn.pt"


class FusedKernels(torch.nn.Module):
    @torch.jit.export
    def pack(self, weight: torch.Tensor, stride: int, padding: int, input_size: List[int]) -> torch.Tensor:
        """Weights in the layout that oneDNN likes best for inputs of this size."""
        return torch.ops.mkldnn._reorder_convolution_weight(weight, [padding, padding], [stride, stride], [1, 1], 1, input_size)

    @torch.jit.export
    def conv(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int, padding: int, after: str) -> torch.Tensor:
        """A convolution and, as `after` says, "relu" or "none"."""
        none: List[Optional[Union[int, float, complex]]] = []
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, [padding, padding], [stride, stride], [1, 1], 1, after, none, "")

    @torch.jit.export
    def conv_add_relu(
        self, other: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int, padding: int
    ) -> torch.Tensor:
        """relu(other + convolution of x), written over `other`."""
        none: List[Optional[Union[int, float, complex]]] = []
        return torch.ops.mkldnn._convolution_pointwise_(
            other, x, weight, bias, [padding, padding], [stride, stride], [1, 1], 1, "add", 1.0, "relu", none, ""
        )


def main():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(FusedKernels()), buffer)
    # Without what names this file's place, so that every machine writes the same bytes.
    with zipfile.ZipFile(buffer) as full, zipfile.ZipFile(PLACE, "w") as small:
        for entry in full.infolist():
            if not entry.filename.endswith((".debug_pkl", "serialization_id")):
                small.writestr(zipfile.ZipInfo(entry.filename), full.read(entry))
    print(PLACE, PLACE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
