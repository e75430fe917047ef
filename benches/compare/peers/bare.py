"""The bare network on normalised images that lie in memory: ONNX Runtime, OpenVINO, PyTorch, torch.compile.

    bare.py ENGINE MODEL [--batch N] [--seconds S] [--threads N] [--device cpu|cuda]

Prints one line of JSON. It is the ceiling of what a scorer built on the engine could reach.
"""

import argparse
import json
import pathlib
import tempfile
import time
import warnings

import torch

import network


def exported(net, batch):
    """Where the network lies as ONNX, with a fixed batch size: engines plan better for one."""
    path = pathlib.Path(tempfile.mkdtemp()) / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (batch,), str(path), input_names=["images"], output_names=["logits"], dynamo=False, verbose=False)
    return path


def onnxruntime(net, batch, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(exported(net, batch)), options, providers=["CPUExecutionProvider"])
    values = batch.contiguous().numpy()
    return lambda: session.run(None, {"images": values})[0]


def openvino(net, batch, threads):
    import openvino

    # Two requests in flight, one stream for each thread: OpenVINO's own advice for throughput.
    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(exported(net, batch)), "CPU", settings)
    queue = openvino.AsyncInferQueue(compiled, 0)
    values = batch.contiguous().numpy()

    def run():
        queue.start_async({0: values})

    run.finish = queue.wait_all
    return run


def eager(net, batch, threads):
    net, batch = net.to(memory_format=torch.channels_last), batch.contiguous(memory_format=torch.channels_last)
    return lambda: net(batch)


def compiled(net, batch, threads):
    net, batch = net.to(memory_format=torch.channels_last), batch.contiguous(memory_format=torch.channels_last)
    torch._inductor.config.freezing = True
    net = torch.compile(net)
    return lambda: net(batch)


ENGINES = {"onnxruntime": onnxruntime, "openvino": openvino, "torch": eager, "torch-compile": compiled}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    net, (height, width) = network.load(arguments.model)
    net = network.folded(net)
    batch = torch.randn(arguments.batch, 3, height, width)
    if arguments.device == "cuda":
        net, batch = net.to("cuda", torch.bfloat16), batch.to("cuda", torch.bfloat16)
    with torch.no_grad():
        run = ENGINES[arguments.engine](net, batch, arguments.threads)
        finish = getattr(run, "finish", torch.cuda.synchronize if arguments.device == "cuda" else lambda: None)
        for _ in range(3):
            run()
        finish()
        start, passes = time.perf_counter(), 0
        while time.perf_counter() - start < arguments.seconds:
            run()
            passes += 1
        finish()
        seconds = time.perf_counter() - start
    print(json.dumps({"images": passes * arguments.batch, "seconds": seconds}))


if __name__ == "__main__":
    main()
