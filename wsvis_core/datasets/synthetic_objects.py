"""Articulated creatures of the generated data set: parts with outline, texture and joint.

Object coordinates: pixels of the frame at scale 1, origin in the body's centre, x towards the head, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wsvis_core.datasets.synthetic_settings import SyntheticSettings
from wsvis_core.datasets.synthetic_textures import BODY_TEXTURES, body_texture, cue_pattern, hue_to_rgb

SPRITE_SCALE = 2.0  # sprite pixels per frame pixel

# Mean build of a class: body aspect, legs, leg length, neck lift, tail length (fractions of the object length).
# Individuals vary round it, so silhouettes help to tell classes apart but do not decide.
_BUILDS = (
    (1.85, 2, 0.14, 0.03, 0.14),
    (1.35, 1, 0.16, 0.06, 0.08),
    (1.65, 0, 0.12, 0.00, 0.22),
    (1.5, 2, 0.22, 0.14, 0.10),
)


@dataclass(frozen=True)
class Part:
    """One rigid piece: premultiplied RGBA sprite, its place in the object and how it swings."""

    sprite: np.ndarray  # float32 (h,w,4), colour 0..255 times alpha, alpha 0..1
    origin: tuple[float, float]  # object coordinates of sprite pixel (0, 0)
    joint: tuple[float, float]  # object coordinates the part turns about
    swing: float  # amplitude in radians
    phase: float


@dataclass(frozen=True)
class Creature:
    """An object: parts in painting order (last on top), its class, length in pixels and period of its limbs."""

    parts: tuple[Part, ...]
    class_index: int
    length: float
    cue_hidden: bool
    period: float


def make_creature(rng: np.random.Generator, class_index: int, length: float, settings: SyntheticSettings) -> Creature:
    """A random individual of a class: graded class cue on the head, correlated tint, texture and build."""
    hidden = bool(rng.random() < settings.cue_hidden_probability)
    surface, extent = _surface(rng, class_index, length, settings)
    build = _individual_build(rng, class_index)
    outlines = _outlines(rng, build, length)
    parts = []
    for name, polygon, joint, swing, phase in outlines:
        contrast = settings.cue_contrast if name == "head" and not hidden else 0.0
        cue = (class_index, settings.num_classes, contrast)
        parts.append(_cut_part(surface, extent, polygon, joint, swing, phase, cue))
    return Creature(tuple(parts), class_index, length, hidden, float(rng.uniform(7.0, 12.0)))


def _surface(
    rng: np.random.Generator, class_index: int, length: float, settings: SyntheticSettings
) -> tuple[np.ndarray, float]:
    """Texture over the whole object (square of ±extent pixels), with a tint round the class's hue."""
    kind = BODY_TEXTURES[class_index % len(BODY_TEXTURES)]
    if rng.random() > settings.texture_match_probability:
        kind = BODY_TEXTURES[int(rng.integers(len(BODY_TEXTURES)))]
    hue = 360.0 * class_index / settings.num_classes + 15.0 + rng.normal(0.0, settings.tint_spread_degrees)
    colour = hue_to_rgb(hue, rng.uniform(0.35, 0.65), rng.uniform(0.5, 0.8))
    extent = 0.8 * length
    size = int(np.ceil(2 * extent * SPRITE_SCALE))
    unit = SPRITE_SCALE * max(1.6, 0.04 * length)
    return body_texture(rng, kind, colour, size, size, unit), extent


def _individual_build(rng: np.random.Generator, class_index: int) -> tuple[float, int, float, float, float]:
    aspect, legs, leg_length, lift, tail = _BUILDS[class_index % len(_BUILDS)]
    if rng.random() < 0.2:
        legs = int(rng.integers(0, 3))
    return (
        aspect * float(np.exp(rng.normal(0.0, 0.12))),
        legs,
        leg_length * float(np.exp(rng.normal(0.0, 0.25))),
        lift + float(rng.normal(0.0, 0.04)),
        tail * float(np.exp(rng.normal(0.0, 0.3))),
    )


Outline = tuple[str, np.ndarray, tuple[float, float], float, float]


def _outlines(rng: np.random.Generator, build: tuple[float, int, float, float, float], length: float) -> list[Outline]:
    """Part outlines in painting order: far limbs, tail, body, near limbs, head."""
    aspect, legs, leg_length, lift, tail = build
    half = 0.355 * length
    height = half / aspect
    limbs = _limbs(rng, legs, half, height, leg_length * length)
    tail_polygon = _tail(rng, half, height, tail * length, legs == 0)
    tail_part: Outline = ("tail", tail_polygon, (-0.85 * half, 0.0), 0.25, float(rng.uniform(0, 6.3)))
    body: Outline = ("body", blob(rng, 0.0, 0.0, half, height, 0.07), (0.0, 0.0), 0.0, 0.0)
    radius = 0.135 * length * float(rng.uniform(0.9, 1.12))
    head_at = (half + 0.25 * radius, -lift * length - 0.1 * height)
    head: Outline = ("head", blob(rng, *head_at, 1.1 * radius, radius, 0.05), (0.8 * half, head_at[1]), 0.1, 0.0)
    return [*limbs[: len(limbs) // 2], tail_part, body, *limbs[len(limbs) // 2 :], head]


def blob(rng: np.random.Generator, x: float, y: float, a: float, b: float, wobble: float) -> np.ndarray:
    """Closed outline (48,2): an ellipse of half axes a, b round (x, y) with a low-frequency random wobble."""
    angle = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
    radius = np.ones_like(angle)
    for order in (2, 3, 4):
        radius += wobble * rng.normal() * np.cos(order * angle + rng.uniform(0, 6.3)) / np.sqrt(order)
    radius = np.clip(radius, 0.7, 1.3)
    return np.stack([x + a * radius * np.cos(angle), y + b * radius * np.sin(angle)], axis=1)


def _limbs(rng: np.random.Generator, pairs: int, half: float, height: float, leg: float) -> list[Outline]:
    """Legs in far/near pairs, or one fin on each side when there are none."""
    limbs: list[Outline] = []
    width = max(2.2, 0.11 * half)
    places = {0: [0.1], 1: [0.0], 2: [-0.55, 0.5]}[pairs]
    for side in (0, 1):
        for index, place in enumerate(places):
            x = place * half + (0.12 * half if side else -0.06 * half)
            top = 0.55 * height
            slant = -0.5 * leg if pairs == 0 else 0.0
            bottom = top + 0.45 * height + leg
            polygon = np.asarray(
                [[x - width, top], [x + width, top], [x + slant + 0.8 * width, bottom], [x + slant - width, bottom]]
            )
            phase = float(np.pi * (side + index) + rng.normal(0, 0.3))
            limbs.append((f"limb{side}{index}", polygon, (x, top), 0.32, phase))
    return limbs


def _tail(rng: np.random.Generator, half: float, height: float, tail: float, fin: bool) -> np.ndarray:
    """Tapering tail, or a fin that widens backwards."""
    base = 0.35 * height
    tip = (0.95 if fin else 0.18) * height
    rise = float(rng.uniform(-0.5, 0.2)) * height * (0.3 if fin else 1.0)
    x = -0.8 * half
    return np.asarray(
        [[x, -base], [x, base], [x - 0.25 * half - tail, rise + tip], [x - 0.25 * half - tail, rise - tip]]
    )


def _cut_part(
    surface: np.ndarray,
    extent: float,
    polygon: np.ndarray,
    joint: tuple[float, float],
    swing: float,
    phase: float,
    cue: tuple[int, int, float],
) -> Part:
    """Cut one part out of the object's surface; a head gets its class's cue blended in."""
    low = np.floor((polygon.min(axis=0) + extent) * SPRITE_SCALE).astype(int) - 3
    high = np.ceil((polygon.max(axis=0) + extent) * SPRITE_SCALE).astype(int) + 4
    low, high = np.maximum(low, 0), np.minimum(high, surface.shape[0])
    colour = surface[low[1] : high[1], low[0] : high[0]].copy()
    points = (polygon + extent) * SPRITE_SCALE - low
    alpha = np.zeros(colour.shape[:2], dtype=np.float32)
    cv2.fillPoly(alpha, [np.round(points * 16).astype(np.int32)], 1.0, lineType=cv2.LINE_8, shift=4)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 0.7)
    class_index, num_classes, contrast = cue
    if contrast > 0:
        _blend_cue(colour, points, cue_pattern(class_index, num_classes, 33), contrast)
    # A darker rim, as on a shaded solid, helps to see parts that lie on one another.
    rim = 1.0 - 0.28 * (1.0 - cv2.GaussianBlur(alpha, (0, 0), 2.2)) * 2.0
    colour = np.clip(colour * rim[:, :, None], 0.0, 255.0)
    sprite = np.dstack([colour * alpha[:, :, None], alpha]).astype(np.float32)
    origin = (float(low[0] / SPRITE_SCALE - extent), float(low[1] / SPRITE_SCALE - extent))
    return Part(sprite, origin, joint, swing, phase)


def _blend_cue(colour: np.ndarray, points: np.ndarray, pattern: np.ndarray, contrast: float) -> None:
    """Blend the cue pattern over the head's colour, in place, stretched to the head's box."""
    x0, y0 = np.floor(points.min(axis=0)).astype(int).clip(0)
    x1, y1 = np.ceil(points.max(axis=0)).astype(int)
    target = colour[y0:y1, x0:x1]
    stretched = cv2.resize(pattern, (target.shape[1], target.shape[0]), interpolation=cv2.INTER_LINEAR)
    target *= 1.0 - contrast
    target += contrast * stretched
