"""Frames as arrays: scaling, random crops, normalisation. Randomness comes in as a generator."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from wsvis_core.backbones import normalise_images

# What pads an image outside its frame is the mean colour, i.e. zero after normalisation.
PAD_COLOUR = (124, 116, 104)


def scaled_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """(H', W') with the given long side and the same aspect ratio, each at least 1."""
    return scaled_by((height, width), long_side / max(height, width))


def scaled_by(size: tuple[int, ...], factor: float) -> tuple[int, int]:
    """(H, W) times a factor, rounded, each at least 1."""
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H,W,3) uint8 resized to (H', W'): area averaging when shrinking, bicubic when growing."""
    if image.shape[:2] == tuple(size):
        return image
    shrinking = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)


def to_tensor(image: np.ndarray) -> Tensor:
    """(H,W,3) uint8 RGB → (3,H,W) float32, normalised for the backbones."""
    return normalise_images(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None])[0]


@dataclass(frozen=True)
class CropWindow:
    """Where a source of (height, width) lands on a square canvas: source[sy:sy+h, sx:sx+w] → canvas[cy:, cx:]."""

    size: int
    source_yx: tuple[int, int]
    canvas_yx: tuple[int, int]
    extent: tuple[int, int]

    def apply(self, array: np.ndarray, fill: float | tuple[int, ...]) -> np.ndarray:
        """The window of (H,W) or (H,W,K) on a canvas filled with `fill`."""
        canvas = np.empty((self.size, self.size, *array.shape[2:]), array.dtype)
        canvas[:] = fill
        (sy, sx), (cy, cx), (h, w) = self.source_yx, self.canvas_yx, self.extent
        canvas[cy : cy + h, cx : cx + w] = array[sy : sy + h, sx : sx + w]
        return canvas


def random_crop_window(height: int, width: int, size: int, rng: np.random.Generator) -> CropWindow:
    """IRN's random crop (§1.2): a shorter side is placed at a random offset, a longer one cut at a random offset."""
    source, canvas, extent = [], [], []
    for length in (height, width):
        slack = length - size
        source.append(int(rng.integers(0, slack + 1)) if slack > 0 else 0)
        canvas.append(int(rng.integers(0, -slack + 1)) if slack < 0 else 0)
        extent.append(min(length, size))
    return CropWindow(size, (source[0], source[1]), (canvas[0], canvas[1]), (extent[0], extent[1]))
