"""The bare network on a GPU in PyTorch: f16, channels-last, batch norm folded, cuDNN benchmark mode, with and without CUDA graphs.

    bare_gpu.py [--device cuda] [--seconds S] ARCHITECTURE:BATCH...

Prints one line of JSON for each network: images per second of the eager network and of its graph. Inputs are normalised images
that lie on the device already.
"""

import argparse
import json
import time

import torch

import network

SIZES = {"resnet18": 224}


def rate(run, batch, seconds, synchronize):
    for _ in range(5):
        run()
    synchronize()
    start, passes = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(10):
            run()
        passes += 10
        synchronize()
    return passes * batch / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    cuda = arguments.device != "cpu"
    torch.backends.cudnn.benchmark = True
    synchronize = torch.cuda.synchronize if cuda else lambda: None
    for name, batch in (text.split(":") for text in arguments.networks):
        batch = int(batch) if cuda else 4
        torch.manual_seed(0)
        net = network.folded(network.ResNet(name, 10).eval()).to(arguments.device, torch.float16)
        net = net.to(memory_format=torch.channels_last)
        size = SIZES.get(name, 32)
        images = torch.randn(batch, 3, size, size, device=arguments.device, dtype=torch.float16)
        images = images.contiguous(memory_format=torch.channels_last)
        result = {"network": name, "batch": batch}
        with torch.no_grad():
            result["eager"] = rate(lambda: net(images), batch, arguments.seconds, synchronize)
            if cuda:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    net(images)
                result["graph"] = rate(graph.replay, batch, arguments.seconds, synchronize)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
