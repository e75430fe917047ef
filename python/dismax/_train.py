"""Training."""

import json
import os
from collections.abc import Callable, Sequence

from dismax import _native
from dismax._errors import ModelError
from dismax._progress import bar


def train(
    data: "_native.Path | Sequence[_native.Path]",
    *,
    out: "str | os.PathLike[str]",
    arch: "str | None" = None,
    init: "str | os.PathLike[str] | None" = None,
    freeze: bool = False,
    head: "str | None" = None,
    recipe: "str | os.PathLike[str] | dict | None" = None,
    loss: "str | None" = None,
    epochs: "int | None" = None,
    batch_size: "int | None" = None,
    lr: "float | None" = None,
    backbone_rate: "float | None" = None,
    weight_decay: "float | None" = None,
    schedule: "str | None" = None,
    validation: "float | _native.Path | Sequence[_native.Path]" = 0.1,
    seed: "int | None" = None,
    image_size: "int | tuple[int, int] | None" = None,
    flip: "bool | str | None" = None,
    crop: "bool | None" = None,
    mean: "tuple[float, float, float] | None" = None,
    std: "tuple[float, float, float] | None" = None,
    label: "str | None" = None,
    image: "str | None" = None,
    alpha: "float | None" = None,
    tta: "str | None" = None,
    device: str = "auto",
    workers: "int | None" = None,
    memory: "int | None" = None,
    resume: bool = False,
    overwrite: bool = False,
    on_event: "Callable[[dict], object] | None" = None,
    progress: "bool | None" = None,
) -> "_native.Model":
    """Trains and calibrates a model.

    Parameters
    ----------
    data : path, address or pattern, or a list of them
        Labelled images. It is read many times; tables are first written to a file.
    out : str or os.PathLike
        The model's folder, which appears when it is complete. After every epoch a checkpoint is written beside it.
    arch : str, optional
        ``resnet20`` (the default, or that of the model ``init``), ``vgg8``, ``resnet34``, ``wrn-28-10`` or
        ``densenet-bc100`` for small images, ``resnet18``, ``resnet34-imagenet``, ``resnet50``, ``resnet101`` or
        ``wrn-50-2`` for photographs.
    init : str or os.PathLike, optional
        What the weights below the head begin with: a model's folder, or a safetensors file with the names of torchvision or
        timm.
    freeze : bool
        Whether the weights of ``init`` stay as they are: one pass over the images then fits a head to their features.
    head : str, optional
        What ``freeze`` fits: ``dismax`` (the default), or ``mahalanobis``.
    recipe : path or dict, optional
        A recipe file, or a dict with its keys, such as ``{"ema": 0.999, "keep": "best"}``; ``docs/training.md`` lists them. The
        arguments here go before it.
    loss : str, optional
        ``dismax`` (the default), ``dismax-dagger`` (with fractional probability regularization, for large networks and
        long trainings), or a loss to compare with.
    epochs, batch_size, lr, backbone_rate, weight_decay, schedule : optional
        The recipe; ``backbone_rate`` is the share of the learning rate below the head. What is left out follows from
        network, device and number of rows, as for ``dismax train``.
    validation : float, path or list of paths
        Rows for validation, calibration and thresholds: a fraction of every class, or files.
    seed : int, optional
        0 unless given; for held-out rows, initial weights, row order and augmentation.
    image_size : int or (height, width), optional
        Input size of the network, in pixels.
    flip, crop : bool, optional
        Random mirroring, or how (``"alternating"``; not for digits, text or anything that has a left and a right), and
        random cropping.
    mean, std : three floats, optional
        Of the channels, from 0 to 1; measured on the training images unless given.
    label, image : str, optional
        Columns; needed only where they cannot be told by their names and types.
    alpha : float, optional
        Share of in-distribution images that ``is_ood`` may flag.
    tta : str, optional
        ``"flip"`` averages the logits of image and mirror image, in whatever scores with the model.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    workers : int, optional
        Replicas of the network that compute at the same time; does not change the result on a CPU.
    memory : int, optional
        Bytes that decoded images may take; a larger dataset is read again in every epoch.
    resume : bool
        Whether to go on from the checkpoint of an interrupted training.
    overwrite : bool
        Whether a model at ``out`` is replaced.
    on_event : callable, optional
        Is given a dict for what happens: ``{"event": "begin", ...}``, ``{"event": "epoch", "epoch": 1, ...}``,
        ``{"event": "uncalibrated", "reason": ...}``. An exception in it stops the training.
    progress : bool, optional
        Whether a bar and a line for each epoch are shown; in terminals and notebooks unless given.

    Returns
    -------
    Model
        The trained model, opened on ``device``.
    """
    given = dict(locals())
    options = {name: given[name] for name in _OPTIONS}
    shown = bar(progress)
    uncalibrated = []

    def tell(text: str) -> None:
        event = json.loads(text)
        if event["event"] == "uncalibrated":
            uncalibrated.append(event["reason"])
        if event["event"] == "epoch" and shown is not None:
            shown.say(
                f"epoch {event['epoch']:>3}  loss {event['train_objective']:.4f}  accuracy {event['train_accuracy']:.2%}  "
                f"held out {event['validation_accuracy']:.2%}"
            )
        if on_event is not None:
            on_event(event)

    try:
        _native._train(data, os.fspath(out), options, tell, shown)
    finally:
        if shown is not None:
            shown.close()
    if uncalibrated:
        raise ModelError(
            f"{os.fspath(out)}: the model is written, but not calibrated: {uncalibrated[0]}; "
            f"then: dismax calibrate {os.fspath(out)} --data VALIDATION"
        )
    return _native.Model(os.fspath(out), device=device)


_OPTIONS = [
    "arch",
    "init",
    "freeze",
    "head",
    "recipe",
    "loss",
    "epochs",
    "batch_size",
    "lr",
    "backbone_rate",
    "weight_decay",
    "schedule",
    "validation",
    "seed",
    "image_size",
    "flip",
    "crop",
    "mean",
    "std",
    "label",
    "image",
    "alpha",
    "tta",
    "device",
    "workers",
    "memory",
    "resume",
    "overwrite",
]
