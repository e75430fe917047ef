#!/usr/bin/env python3
"""Writes imagenet.safetensors: what torchvision's and timm's ResNets compute, for the network tests.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.27 safetensors
    tests/golden/imagenet.py

Weights and images follow from names, as README.md describes. Fails unless timm's networks of the same weights agree.
"""

import pathlib

import numpy
import timm
import torch
import torchvision
from made_up import unit, weight
from safetensors.torch import save_file

# Name here, torchvision's, timm's.
NETWORKS = [
    ("resnet18", "resnet18", "resnet18"),
    ("resnet34-imagenet", "resnet34", "resnet34"),
    ("resnet50", "resnet50", "resnet50"),
    ("resnet101", "resnet101", "resnet101"),
    ("wrn-50-2", "wide_resnet50_2", "wide_resnet50_2"),
]
CLASSES = 10


def images():
    return torch.from_numpy((2 * unit("images", 2 * 3 * 64 * 64)).astype(numpy.float32)).view(2, 3, 64, 64)


def loaded(network):
    state = network.state_dict()
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    network.load_state_dict({name: weight(name, tuple(state[name].shape)) for name in names}, strict=False)
    return network.eval(), sorted((name, tuple(state[name].shape)) for name in names)


def main():
    values = {}
    for ours, in_torchvision, in_timm in NETWORKS:
        network, names = loaded(torchvision.models.get_model(in_torchvision, weights=None, num_classes=CLASSES))
        other, other_names = loaded(timm.create_model(in_timm, pretrained=False, num_classes=CLASSES))
        assert names == other_names, f"{ours}: timm's names are others"
        with torch.no_grad():
            logits = network(images())
            below = torch.nn.Sequential(*list(network.children())[:-1])
            features = below(images()).flatten(1)
            features_of_timm = other.forward_head(other.forward_features(images()), pre_logits=True)
            apart = (features - features_of_timm).abs().max() / features.abs().max()
            assert apart < 1e-6, f"{ours}: timm's features differ by {apart}"
            assert torch.allclose(logits, other(images()), rtol=1e-5), f"{ours}: timm's logits differ"
        values[f"{ours}.features"], values[f"{ours}.logits"] = features, logits
        print(f"{ours}: features up to {features.abs().max():.4g}, {apart:.1g} from timm's")
    save_file(values, pathlib.Path(__file__).with_name("imagenet.safetensors"))


if __name__ == "__main__":
    main()
