"""Paints a planned scene and derives masks and flow from the same matrices, so that both are exact."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wsvis_core.datasets.synthetic_objects import SPRITE_SCALE, Creature, Part
from wsvis_core.datasets.synthetic_scenes import ObjectPlan

BACKGROUND = -1
OCCLUDER = -2


@dataclass(frozen=True)
class Layer:
    """A rigid picture that is laid over the scene.

    ``matrices`` (T,2,3) map sprite pixels (x, y, 1) to frame pixels; ``shown`` (T,) says in which frames it is
    there; ``owner`` is the object's index, BACKGROUND or OCCLUDER.
    """

    sprite: np.ndarray  # float32 (h,w,4), premultiplied
    matrices: np.ndarray
    shown: np.ndarray
    owner: int


def creature_layers(creature: Creature, plan: ObjectPlan, owner: int, still: bool) -> list[Layer]:
    """One layer per part, in painting order; a ``still`` creature does not move its limbs."""
    frames = len(plan.centres)
    body = np.stack([_object_matrix(plan, t) for t in range(frames)])
    return [
        Layer(
            part.sprite,
            np.stack([(body[t] @ _part_matrix(part, creature, 0 if still else t))[:2] for t in range(frames)]),
            np.ones(frames, dtype=bool),
            owner,
        )
        for part in creature.parts
    ]


def _object_matrix(plan: ObjectPlan, t: int) -> np.ndarray:
    """Object coordinates -> frame pixels, 3x3."""
    cos, sin = np.cos(plan.angles[t]) * plan.scales[t], np.sin(plan.angles[t]) * plan.scales[t]
    mirror = -1.0 if plan.faces_left else 1.0
    x, y = plan.centres[t]
    return np.asarray([[cos * mirror, -sin, x], [sin * mirror, cos, y], [0.0, 0.0, 1.0]])


def _part_matrix(part: Part, creature: Creature, t: int) -> np.ndarray:
    """Sprite pixels -> object coordinates, 3x3, with the part turned about its joint."""
    angle = part.swing * np.sin(2 * np.pi * t / creature.period + part.phase)
    cos, sin = np.cos(angle), np.sin(angle)
    jx, jy = part.joint
    turn = np.asarray([[cos, -sin, jx - cos * jx + sin * jy], [sin, cos, jy - sin * jx - cos * jy], [0, 0, 1.0]])
    place = np.asarray([[1 / SPRITE_SCALE, 0, part.origin[0]], [0, 1 / SPRITE_SCALE, part.origin[1]], [0, 0, 1.0]])
    return turn @ place


def paint(layers: list[Layer], t: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame t as float32 (H,W,3) and the index of the layer seen at each pixel, int16 (H,W); layer 0 fills all."""
    image = np.zeros((height, width, 3), dtype=np.float32)
    seen = np.zeros((height, width), dtype=np.int16)
    for index, layer in enumerate(layers):
        if layer.shown[t]:
            _lay_over(image, seen, layer.sprite, layer.matrices[t], index)
    return image, seen


def _lay_over(image: np.ndarray, seen: np.ndarray, sprite: np.ndarray, matrix: np.ndarray, index: int) -> None:
    """Blend one sprite into ``image`` in place; pixels it covers by half or more become ``index`` in ``seen``."""
    height, width = seen.shape
    rows, columns = sprite.shape[:2]
    corners = matrix @ np.asarray([[0, columns, columns, 0], [0, 0, rows, rows], [1, 1, 1, 1]], dtype=np.float64)
    x0, y0 = np.maximum(np.floor(corners.min(axis=1)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=1)).astype(int) + 2, [width, height])
    if x0 >= x1 or y0 >= y1:
        return
    local = matrix.copy()
    local[:, 2] -= [x0, y0]
    patch = cv2.warpAffine(sprite, local, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    alpha = patch[:, :, 3:]
    region = image[y0:y1, x0:x1]
    region *= 1.0 - alpha
    region += patch[:, :, :3]
    seen[y0:y1, x0:x1][alpha[:, :, 0] >= 0.5] = index


def exact_flow(
    layers: list[Layer], seen_now: np.ndarray, seen_next: np.ndarray, t: int
) -> tuple[np.ndarray, np.ndarray]:
    """F_{t->t+1} float32 (2,H,W) of the surface seen at every pixel of t, and where it is seen in t+1, bool (H,W)."""
    height, width = seen_now.shape
    moves = np.stack([_motion(layer.matrices[t], layer.matrices[t + 1]) for layer in layers])[seen_now]
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    target_x = moves[..., 0, 0] * x + moves[..., 0, 1] * y + moves[..., 0, 2]
    target_y = moves[..., 1, 0] * x + moves[..., 1, 1] * y + moves[..., 1, 2]
    inside = (target_x >= 0) & (target_x <= width - 1) & (target_y >= 0) & (target_y <= height - 1)
    column = np.clip(np.rint(target_x), 0, width - 1).astype(int)
    row = np.clip(np.rint(target_y), 0, height - 1).astype(int)
    visible = inside & (seen_next[row, column] == seen_now)
    return np.stack([target_x - x, target_y - y]).astype(np.float32), visible


def _motion(now: np.ndarray, after: np.ndarray) -> np.ndarray:
    """2x3 matrix that takes frame-t pixels of a layer to frame-(t+1) pixels."""
    bottom = np.asarray([[0.0, 0.0, 1.0]])
    return (np.vstack([after, bottom]) @ np.linalg.inv(np.vstack([now, bottom])))[:2]


def disturb(image: np.ndarray, mask: np.ndarray, kind: str) -> None:
    """Make the pixels of ``mask`` (bool H,W) hard to read, in place, with a soft edge.

    ``kind``: blur · darken · wash (overexposed) · fade (as through fog) · tint (light of another colour).
    """
    soft = cv2.GaussianBlur(cv2.dilate(mask.astype(np.float32), np.ones((5, 5), np.uint8)), (0, 0), 1.5)[:, :, None]
    match kind:
        case "blur":
            changed = cv2.GaussianBlur(image, (0, 0), 6.0)
        case "darken":
            changed = image * 0.22
        case "wash":
            changed = 255.0 - (255.0 - image) * 0.3
        case "fade":
            changed = 128.0 + (image.mean(axis=2, keepdims=True) - 128.0) * 0.4
        case "tint":
            changed = image[:, :, [1, 2, 0]]
        case _:
            raise ValueError(f"disturb has no kind '{kind}'")
    image *= 1.0 - soft
    image += soft * changed
