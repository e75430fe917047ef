"""Decoding and resizing alone, on one core: Pillow with draft, torchvision, Daft.

    decode.py LIBRARY INPUT --image COLUMN [--seconds S]

As the model folder of an ImageNet network asks for it: shorter side to 256, the middle 224x224.
"""

import argparse
import json
import time

import pyarrow.parquet as pq

SETTINGS = {"width": 224, "height": 224, "resize": {"rule": "shorter_side", "pixels": 256}}


def pillow(encoded):
    import images

    preprocess = images.Preprocess(SETTINGS)
    return lambda: [preprocess(one) for one in encoded]


def torchvision(encoded):
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    transform = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])
    buffers = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in encoded]
    return lambda: [transform(decode_jpeg(one, mode=ImageReadMode.RGB)) for one in buffers]


def daft(encoded):
    import daft

    daft.set_runner_native(num_threads=1)
    frame = daft.from_pydict({"bytes": encoded}).collect()
    pixels = daft.functions.resize(daft.functions.decode_image(daft.col("bytes"), mode="RGB"), 224, 224)
    return lambda: frame.select(pixels).collect()


LIBRARIES = {"pillow": pillow, "torchvision": torchvision, "daft": daft}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("input")
    parser.add_argument("--image", required=True)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()

    encoded = pq.read_table(arguments.input)[arguments.image].combine_chunks().field("bytes").to_pylist()[:300]
    prepare = LIBRARIES[arguments.library]
    run = prepare(encoded)
    run()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < arguments.seconds:
        run()
        count += len(encoded)
    print(json.dumps({"images": count, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
