"""Textures and colours of the generated data set: pure functions of a numpy generator."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

BODY_TEXTURES = ("mottled", "stripes", "spots", "patches")
CUE_PATTERNS = ("ring", "bars", "cross", "checker")


def smooth_noise(rng: np.random.Generator, height: int, width: int, sigma: float) -> np.ndarray:
    """float32 (H,W) Gaussian noise blurred by ``sigma`` pixels, mean 0, standard deviation 1."""
    step = max(1, int(sigma / 2))
    small = rng.standard_normal((height // step + 3, width // step + 3)).astype(np.float32)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    noise = cv2.resize(small, (small.shape[1] * step, small.shape[0] * step), interpolation=cv2.INTER_CUBIC)
    noise = noise[step : step + height, step : step + width]
    return (noise - noise.mean()) / (noise.std() + 1e-6)


def hue_to_rgb(hue_degrees: float, saturation: float, value: float) -> np.ndarray:
    """float32 (3,) RGB colour, 0..255."""
    rgb = colorsys.hsv_to_rgb((hue_degrees % 360.0) / 360.0, saturation, value)
    return np.asarray(rgb, dtype=np.float32) * 255.0


def body_pattern(rng: np.random.Generator, kind: str, height: int, width: int, unit: float) -> np.ndarray:
    """float32 (H,W) pattern of one of BODY_TEXTURES, about -1..1; ``unit`` is the grain in pixels."""
    if kind == "stripes":
        angle = rng.uniform(-0.6, 0.6)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        phase = (np.cos(angle) * x + np.sin(angle) * y) / unit + 0.8 * smooth_noise(rng, height, width, 3 * unit)
        return np.sin(1.6 * phase).astype(np.float32)
    if kind == "spots":
        return np.tanh(2.5 * (smooth_noise(rng, height, width, 0.9 * unit) - 0.9))
    if kind == "patches":
        return np.tanh(4.0 * smooth_noise(rng, height, width, 2.0 * unit))
    return 0.6 * smooth_noise(rng, height, width, unit)


def body_texture(
    rng: np.random.Generator, kind: str, colour: np.ndarray, height: int, width: int, unit: float
) -> np.ndarray:
    """float32 (H,W,3) RGB surface: a coarse pattern plus fine grain, so that optical flow has something to hold."""
    pattern = body_pattern(rng, kind, height, width, unit)
    grain = smooth_noise(rng, height, width, 0.55 * unit)
    shade = np.linspace(18.0, -22.0, height, dtype=np.float32)[:, None]
    light = 30.0 * pattern + 13.0 * grain + shade
    return colour[None, None, :] + light[:, :, None] * np.asarray([1.0, 0.95, 0.9], dtype=np.float32)


def cue_pattern(class_index: int, num_classes: int, size: int) -> np.ndarray:
    """float32 (S,S,3) RGB pattern that only objects of ``class_index`` carry, on their head."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / max(size - 1, 1) * 2.0 - 1.0
    kind = CUE_PATTERNS[class_index % len(CUE_PATTERNS)]
    signed = {
        "ring": np.cos(2.6 * np.pi * np.hypot(x, y)),
        "bars": np.sin(2.5 * np.pi * y),
        "cross": np.maximum(0.32 - np.abs(x), 0.32 - np.abs(y)) * 5.0,
        "checker": np.sin(2.0 * np.pi * x) * np.sin(2.0 * np.pi * y) * 2.0,
    }[kind]
    weight = (0.5 + 0.5 * np.tanh(3.0 * signed))[:, :, None].astype(np.float32)
    hue = 360.0 * class_index / num_classes + 60.0
    return weight * hue_to_rgb(hue, 0.75, 1.0) + (1.0 - weight) * hue_to_rgb(hue + 180.0, 0.6, 0.22)


def background_texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """float32 (H,W,3) RGB backdrop: two ground colours, structure at several scales, and still clutter."""
    hue = rng.uniform(0.0, 360.0)
    near = hue_to_rgb(hue + rng.normal(0, 25), rng.uniform(0.08, 0.32), rng.uniform(0.45, 0.75))
    far = hue_to_rgb(hue + rng.normal(0, 40), rng.uniform(0.08, 0.32), rng.uniform(0.3, 0.65))
    blend = 0.5 + 0.5 * np.tanh(1.5 * smooth_noise(rng, height, width, 14.0) + np.linspace(-1, 1, height)[:, None])
    image = blend[:, :, None] * near + (1.0 - blend[:, :, None]) * far
    for _ in range(int(rng.integers(3, 8))):
        _add_clutter(rng, image, hue)
    light = 13.0 * smooth_noise(rng, height, width, 4.0) + 10.0 * smooth_noise(rng, height, width, 1.3)
    return (image + light[:, :, None]).astype(np.float32)


def _add_clutter(rng: np.random.Generator, image: np.ndarray, hue: float) -> None:
    """Paint one soft-edged still shape (stone, plank) into ``image``, in place."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), dtype=np.float32)
    centre = (float(rng.uniform(0, width)), float(rng.uniform(0, height)))
    axes = (float(rng.uniform(5, 22)), float(rng.uniform(3, 12)))
    box = (centre, (2 * axes[0], 2 * axes[1]), float(rng.uniform(0, 180)))
    if rng.random() < 0.5:
        cv2.ellipse(mask, box, 1.0, -1)
    else:
        cv2.fillPoly(mask, [np.round(cv2.boxPoints(box)).astype(np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.8)[:, :, None] * 0.8
    colour = hue_to_rgb(hue + rng.normal(0, 60), rng.uniform(0.05, 0.35), rng.uniform(0.25, 0.8))
    image *= 1.0 - mask
    image += mask * colour
