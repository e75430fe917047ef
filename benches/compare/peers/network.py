"""The networks of the comparison in PyTorch, with the weights of a model folder. Names are those of the bundle."""

import json
import pathlib

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

BLOCKS = {
    "resnet20": ([16, 32, 64], [3, 3, 3], False, "shortcut"),
    "resnet34": ([64, 128, 256, 512], [3, 4, 6, 3], False, "shortcut"),
    "resnet18": ([64, 128, 256, 512], [2, 2, 2, 2], True, "downsample"),
    "resnet50": ([64, 128, 256, 512], [3, 4, 6, 3], True, "downsample"),
}
VGG8 = [(32, 48), (48, 192), (192, 256)]
ARCHITECTURES = [*BLOCKS, "vgg8"]


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, outputs, stride, projection):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.projection = projection
        if stride != 1 or inputs != outputs:
            setattr(self, projection, nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)))

    def forward(self, x):
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        shortcut = getattr(self, self.projection)(x) if hasattr(self, self.projection) else x
        return functional.relu(out + shortcut, inplace=True)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, width, stride, projection):
        super().__init__()
        outputs = self.expansion * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.projection = projection
        if stride != 1 or inputs != outputs:
            setattr(self, projection, nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)))

    def forward(self, x):
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = functional.relu(self.bn2(self.conv2(out)), inplace=True)
        shortcut = getattr(self, self.projection)(x) if hasattr(self, self.projection) else x
        return functional.relu(self.bn3(self.conv3(out)) + shortcut, inplace=True)


class DisMaxHead(nn.Module):
    """Logits of DisMax: arXiv 2205.05874, section 3."""

    def __init__(self, features, classes):
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(classes, features))
        self.distance_scale = nn.Parameter(torch.ones(1))

    def forward(self, features):
        features, prototypes = functional.normalize(features), functional.normalize(self.prototypes)
        # Squared distances of unit vectors; cdist would not export everywhere.
        distances = (2.0 - 2.0 * features @ prototypes.T).clamp_min(1e-12).sqrt() * self.distance_scale.abs() / 2**0.5
        return -(distances + distances.mean(dim=1, keepdim=True))


class ResNet(nn.Module):
    def __init__(self, architecture, classes):
        super().__init__()
        channels, blocks, large, projection = BLOCKS[architecture]
        width = channels[0]
        block = Bottleneck if architecture == "resnet50" else BasicBlock
        self.large = large
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False) if large else nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = len(channels)
        for stage, (outputs, count) in enumerate(zip(channels, blocks)):
            layer = []
            for index in range(count):
                layer.append(block(width, outputs, 2 if stage > 0 and index == 0 else 1, projection))
                width = block.expansion * outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.head_name = "fc" if large else "classifier"
        setattr(self, self.head_name, DisMaxHead(width, classes))

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.large:
            x = functional.max_pool2d(x, 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return getattr(self, self.head_name)(x.mean(dim=(2, 3)))


class Vgg8(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32)
        for number, (inputs, outputs) in enumerate(VGG8, 1):
            stage = nn.Module()
            stage.conv1, stage.bn1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
            stage.conv2, stage.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
            setattr(self, f"layer{number}", stage)
        self.head_name, self.classifier = "classifier", DisMaxHead(256, classes)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        for stage in (self.layer1, self.layer2, self.layer3):
            x = functional.max_pool2d(functional.relu(stage.bn1(stage.conv1(x)), inplace=True), 2)
            x = functional.relu(stage.bn2(stage.conv2(x)), inplace=True)
        return self.classifier(x.mean(dim=(2, 3)))


def of(architecture, classes):
    """The network of this name."""
    return Vgg8(classes) if architecture == "vgg8" else ResNet(architecture, classes)


def config(folder):
    """The model's configuration."""
    return json.loads((pathlib.Path(folder) / "config.json").read_text())


def load(folder):
    """The network of a model folder, for inference, and its input's height and width."""
    settings = config(folder)
    network = of(settings["architecture"], len(settings["classes"]))
    network.load_state_dict(load_file(pathlib.Path(folder) / "model.safetensors"), strict=False)
    size = settings["preprocessing"]["height"], settings["preprocessing"]["width"]
    return network.eval(), size


def folded(network):
    """The same with batch norm folded into the convolutions, as every engine's compiler does it."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in network.modules():
        for number in (1, 2, 3):
            conv, norm = (getattr(module, f"{name}{number}", None) for name in ("conv", "bn"))
            if norm is not None:
                setattr(module, f"conv{number}", fuse_conv_bn_eval(conv, norm))
                setattr(module, f"bn{number}", nn.Identity())
        if isinstance(module, BasicBlock | Bottleneck) and hasattr(module, module.projection):
            pair = getattr(module, module.projection)
            setattr(module, module.projection, fuse_conv_bn_eval(pair[0], pair[1]))
    return network
