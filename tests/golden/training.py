"""Writes training.json: what PyTorch's autograd, optimiser and averaged models make of the options of a training, and what
it makes of VGG-8.

Run: python training.py (needs torch and numpy; made with torch 2.11 on a CPU).
"""
import json
import pathlib

import numpy
import torch
from made_up import unit, weight
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

torch.manual_seed(5)
ROWS, WIDTH, CLASSES, SMOOTHING, ALPHA = 12, 6, 4, 0.1, 0.7
FEATURES = torch.randn(ROWS, WIDTH)
WEIGHT, BIAS = torch.randn(CLASSES, WIDTH) * 0.5, torch.randn(CLASSES) * 0.1
LABELS = torch.randint(0, CLASSES, (ROWS,))
CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.25, 0.75])
# The last three rows as mosaics, of four labels each.
MOSAICS = torch.tensor([[0, 1, 2, 3], [1, 1, 2, 0], [3, 3, 3, 3]])


def plain(features, weight, bias):
    return F.linear(features, weight, bias)


def logitnorm(features, weight, bias):
    """Wei et al. 2022, equation 6, with the epsilon of the published code."""
    logits = F.linear(features, weight, bias)
    return logits / (torch.linalg.vector_norm(logits, dim=1, keepdim=True) + 1e-7) / 0.04


def t2fnorm(features, weight, bias):
    """Regmi et al. 2023: normalised features over the temperature."""
    return F.linear(F.normalize(features, dim=1) / 0.1, weight, bias)


def elogitnorm(features, weight, bias):
    """Ding et al. 2025: the mean over classes of the distance to the boundary with the predicted class."""
    logits = F.linear(features, weight, bias)
    rows = []
    for row in logits:
        best = int(row.argmax())
        distances = [(row[best] - row[k]) / (weight[best] - weight[k]).norm() for k in range(CLASSES) if k != best]
        rows.append(row / (sum(distances) / CLASSES))
    return torch.stack(rows)


def values(tensor):
    return tensor.detach().flatten().tolist()


def with_gradients(objective):
    inputs = [tensor.clone().requires_grad_() for tensor in (FEATURES, WEIGHT, BIAS)]
    value = objective(*inputs)
    gradients = torch.autograd.grad(value, inputs)
    names = ("features", "weight", "bias")
    return {"value": value.item(), **{name: values(g) for name, g in zip(names, gradients)}}


def rows_of(logits, smoothing=0.0):
    return F.cross_entropy(logits, LABELS, reduction="none", label_smoothing=smoothing)


def mosaics(features, weight, bias, class_weights, share):
    """Cross-entropy of all but the mosaics, and KL(Q || P) of these, weighed by their shares."""
    log_p = F.linear(features, weight, bias).log_softmax(1)
    count = len(MOSAICS)
    whole = F.nll_loss(log_p[:-count], LABELS[:-count], reduction="none") * class_weights[LABELS[:-count]]
    target = F.one_hot(MOSAICS, CLASSES).float().mean(1)
    divergence = F.kl_div(log_p[-count:], target, reduction="none").sum(1) * (target @ class_weights)
    return (1 - share) * whole.mean() + share * ALPHA * divergence.mean()


def steps():
    """Three steps of SGD on a smoothed and weighted objective."""
    weight, bias = (tensor.clone().requires_grad_() for tensor in (WEIGHT, BIAS))
    sgd = torch.optim.SGD([weight, bias], lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True)
    objectives = []
    for _ in range(3):
        objective = (rows_of(F.linear(FEATURES, weight, bias), SMOOTHING) * CLASS_WEIGHTS[LABELS]).mean()
        sgd.zero_grad()
        objective.backward()
        sgd.step()
        objectives.append(objective.item())
    return {"objectives": objectives, "weight": values(weight), "bias": values(bias)}


def average(decay):
    """Parameters and running statistics of a small network after each step, and their averages after all."""
    torch.manual_seed(6)
    model = nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, CLASSES))
    # The average begins as the first weights, and takes more of the next ones while there are few.
    averaged = AveragedModel(
        model, avg_fn=lambda old, new, count: old + (new - old) * (1 - min(decay, count / (9 + count))), use_buffers=True
    )
    averaged.n_averaged.fill_(1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.5)

    def state(network):
        return [
            torch.cat([tensor.flatten() for tensor in network.parameters()]),
            torch.cat([tensor.flatten() for name, tensor in network.named_buffers() if "running" in name]),
        ]

    first, trace = state(model), []
    for _ in range(8):
        sgd.zero_grad()
        F.cross_entropy(model(FEATURES), LABELS).backward()
        sgd.step()
        averaged.update_parameters(model)
        trace.append([values(part) for part in state(model)])
    return {
        "decay": decay,
        "first": [values(part) for part in first],
        "steps": trace,
        "averaged": [values(part) for part in state(averaged.module)],
    }


class Vgg8(nn.Module):
    """Two convolutions a stage, with a maximum between them; batch norm after each."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        for number, (inputs, outputs) in enumerate([(32, 48), (48, 192), (192, 256)], 1):
            stage = nn.Module()
            stage.conv1, stage.bn1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
            stage.conv2, stage.bn2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
            setattr(self, f"layer{number}", stage)
        self.classifier = nn.Linear(256, 10)

    def features(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3):
            x = F.max_pool2d(F.relu(stage.bn1(stage.conv1(x))), 2)
            x = F.relu(stage.bn2(stage.conv2(x)))
        return x.mean((2, 3))


def vgg8():
    """Logits and features of made-up weights and images, and the objectives of three steps of SGD, in f64."""
    network = Vgg8()
    state = network.state_dict()
    made_up = {name: weight(name, tuple(state[name].shape)) for name in state if not name.endswith("tracked")}
    network.load_state_dict(made_up, strict=False)
    network.double()
    images = torch.from_numpy(2 * unit("images", 4 * 3 * 32 * 32)).view(4, 3, 32, 32).float().double()
    with torch.no_grad():
        features = network.eval().features(images)
        logits = network.classifier(features)
    network.train()
    sgd = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    objectives = []
    for _ in range(3):
        objective = F.cross_entropy(network.classifier(network.features(images)), torch.tensor([1, 5, 2, 7]))
        sgd.zero_grad()
        objective.backward()
        sgd.step()
        objectives.append(objective.item())
    return {"features": values(features), "logits": values(logits), "objectives": objectives}


def whitening():
    """Principal components of 3x3 patches of made-up images [6, 11, 9, 3], over their deviations, in NumPy."""
    rows, columns, std = 11, 9, numpy.array([0.2, 0.25, 0.3])
    images = numpy.floor(256 * (unit("whitening", 6 * rows * columns * 3) + 0.5)).reshape(6, rows, columns, 3)
    # Smoothed as pictures are, so that the components differ in strength.
    images[:, 1:] = numpy.floor((images[:, 1:] + 2 * images[:, :-1]) / 3)
    tops, lefts = ([number * (length - 3) // 3 for number in range(4)] for length in (rows, columns))
    patches = [image[top : top + 3, left : left + 3] / 255 / std for image in images for top in tops for left in lefts]
    patches = numpy.stack([patch.transpose(2, 0, 1).reshape(-1) for patch in patches])
    variances, components = numpy.linalg.eigh(numpy.cov(patches.T, bias=True))
    filters = (components / numpy.sqrt(variances + 5e-4)).T[::-1]
    return {"std": std.tolist(), "filters": filters[:8].flatten().tolist()}


golden = {
    "train.inputs": {
        "features": values(FEATURES),
        "weight": values(WEIGHT),
        "bias": values(BIAS),
        "labels": values(LABELS),
        "class_weights": values(CLASS_WEIGHTS),
        "mosaics": values(MOSAICS),
    },
    **{
        f"train.loss.{logits.__name__}": with_gradients(lambda *inputs, logits=logits: rows_of(logits(*inputs)).mean())
        for logits in (plain, logitnorm, t2fnorm, elogitnorm)
    },
    "train.smoothed": with_gradients(lambda *inputs: rows_of(plain(*inputs), SMOOTHING).mean()),
    "train.weighted": with_gradients(lambda *inputs: (rows_of(plain(*inputs)) * CLASS_WEIGHTS[LABELS]).mean()),
    "train.mosaics": with_gradients(lambda *inputs: mosaics(*inputs, torch.ones(CLASSES), 0.25)),
    "train.mosaics.weighted": with_gradients(lambda *inputs: mosaics(*inputs, CLASS_WEIGHTS, 0.25)),
    "train.steps": steps(),
    "train.average": average(0.6),
    "train.vgg8": vgg8(),
    "train.whitening": whitening(),
}
path = pathlib.Path(__file__).with_name("training.json")
path.write_text(json.dumps(golden, indent=1).replace("\n   ", " ").replace("\n  ]", " ]") + "\n")
