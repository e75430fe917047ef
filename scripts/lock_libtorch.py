#!/usr/bin/env python3
"""Write `libtorch.lock.json`: the wheels below, their digests and those of the files taken from them.

For whoever moves the project to another libtorch: change the versions (the CUDA ones are what the wheel's own
requirements name), run this, and see what `git diff` says. It downloads about 500 MB.
"""

import io
import json
import tempfile
import zipfile
from pathlib import Path

from setup_libtorch import CHUNK, LOCK, RangedWheel, Web, extract, spans_of, tree_digest, wanted

LIBTORCH = "2.11.0"
# One wheel for everybody: its C++ libraries are the same in the wheels for every Python.
TORCH_TAG = "-cp311-cp311-manylinux_2_28_x86_64.whl"
CPU = {
    "torch": (["torch/lib/libc10.so", "torch/lib/libgomp.so.1", "torch/lib/libtorch_cpu.so"], ["torch/include/"]),
    "nvidia-cuda-cupti": (["nvidia/cu13/lib/libcupti.so.13"], []),
    "nvidia-cuda-runtime": (["nvidia/cu13/lib/libcudart.so.13"], []),
}
CUDA = {
    "torch": (
        [
            "torch/lib/libc10_cuda.so",
            "torch/lib/libcaffe2_nvrtc.so",
            "torch/lib/libtorch_cuda.so",
            "torch/lib/libtorch_cuda_linalg.so",
            "torch/lib/libtorch_nvshmem.so",
        ],
        [],
    ),
}
VERSIONS = {
    "torch": LIBTORCH,
    "nvidia-cuda-cupti": "13.0.85",
    "nvidia-cuda-runtime": "13.0.96",
    "nvidia-cublas": "13.1.0.3",
    "nvidia-cuda-nvrtc": "13.0.88",
    "nvidia-cudnn-cu13": "9.19.0.56",
    "nvidia-cufft": "12.0.0.61",
    "nvidia-cufile": "1.15.1.6",
    "nvidia-curand": "10.4.0.35",
    "nvidia-cusolver": "12.0.4.66",
    "nvidia-cusparse": "12.6.3.3",
    "nvidia-cusparselt-cu13": "0.8.0",
    "nvidia-nccl-cu13": "2.28.9",
    "nvidia-nvjitlink": "13.0.88",
    "nvidia-nvshmem-cu13": "3.4.5",
}


def is_ours(name, project, version):
    """Whether the index's file is the wheel of this version for Linux on x86_64."""
    if project == "torch":
        return name == "torch-" + version + TORCH_TAG
    return name.startswith(project.replace("-", "_") + "-" + version + "-") and name.endswith("x86_64.whl")


def digests(web, url, wheel, names, trees, folder):
    """What the lock file says about the files taken from a wheel."""
    remote = RangedWheel(web, url, wheel, folder)
    archive = zipfile.ZipFile(io.BufferedReader(remote, CHUNK))
    members = wanted(archive, {"files": names, "trees": trees})
    remote.fetch(spans_of(archive, members), wheel["file"])
    found = extract(archive, members, folder / "files")
    take = {"files": {name: found[name] for name in names}}
    if trees:
        take["trees"] = {t: tree_digest({n: d for n, d in found.items() if n.startswith(t)}) for t in trees}
    return take


def main():
    web, wheels = Web(), []
    for project, version in VERSIONS.items():
        (file,) = [f for f in web.files(project) if is_ours(f["filename"], project, version)]
        wheel = {"project": project, "version": version, "file": file["filename"]}
        wheel.update(sha256=file["hashes"]["sha256"], size=file["size"])
        for part, takes in (("cpu", CPU), ("cuda", CUDA)):
            if project in takes:
                with tempfile.TemporaryDirectory() as folder:
                    wheel[part] = digests(web, file["url"], wheel, *takes[project], Path(folder))
        if project not in CPU:
            wheel["cuda"] = {"libraries": True}
        wheels.append(wheel)
    LOCK.write_text(json.dumps({"libtorch": LIBTORCH, "wheels": wheels}, indent=1) + "\n")


if __name__ == "__main__":
    main()
