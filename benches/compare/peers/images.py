"""Preprocessing as the model folder asks for it, and the scored columns, for the peers."""

import io

import numpy as np
import torch
from PIL import Image
from torch.nn import functional


class Preprocess:
    """Encoded bytes to u8 `[H, W, 3]`, with Pillow."""

    def __init__(self, settings):
        self.settings = settings
        self.size = settings["width"], settings["height"]
        self.shorter = settings["resize"].get("pixels")

    def __call__(self, encoded):
        image = Image.open(io.BytesIO(encoded))
        width, height = image.size
        if self.shorter:
            scale = self.shorter / min(width, height)
            full = max(round(width * scale), self.size[0]), max(round(height * scale), self.size[1])
            # JPEG is decoded at a fraction of its size where that still is larger than what is asked for.
            image.draft("RGB", full)
            left, top = (full[0] - self.size[0]) / 2, (full[1] - self.size[1]) / 2
            across, down = image.size[0] / full[0], image.size[1] / full[1]
            box = left * across, top * down, (left + self.size[0]) * across, (top + self.size[1]) * down
            image = image.convert("RGB").resize(self.size, Image.Resampling.BILINEAR, box)
        else:
            image = image.convert("RGB")
            if image.size != self.size:
                image = image.resize(self.size, Image.Resampling.BILINEAR)
        return np.asarray(image)


def normalise(pixels, settings):
    """u8 `[B, H, W, 3]` to f32 `[B, 3, H, W]`, channels-last."""
    mean, std = torch.tensor(settings["mean"]) * 255, torch.tensor(settings["std"]) * 255
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2)


def columns(logits, temperature):
    """Predictions, confidences, probabilities and MMLES scores of logits `[N, C]`."""
    probabilities = functional.softmax(logits / temperature, dim=1)
    confidence, prediction = probabilities.max(dim=1)
    at_one = functional.softmax(logits, dim=1)
    entropy = -(at_one * at_one.clamp_min(1e-38).log()).sum(dim=1)
    score = logits.max(dim=1).values + logits.mean(dim=1) - entropy
    return prediction, confidence, probabilities, -score
