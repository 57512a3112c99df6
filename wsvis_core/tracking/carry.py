"""Masks of a frame carried along the flow, and how much they share with those of the next frame.

All masks of a frame are one picture of labels, so that the time per pixel does not grow with their number. Only where
neighbouring labels differ is anything interpolated, and positions are not scaled on the way: a flow of exactly half
a pixel gives exactly ½, which counts as inside (`backward_warp` can lose such a pixel to rounding). Pure numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from wsvis_core.storage.rle import Rle

# Pixels added around a frame: a position outside reads label 0 at all four neighbours.
_MARGIN = 2
# Rows that are worked on at once: few enough that what lies between two steps stays in the cache.
_ROWS = 64


@dataclass(frozen=True)
class LabelPicture:
    """N masks of one frame, which may overlap, as one picture.

    labels (H,W) int32: 0 where there is no mask, else one number for every set of masks that share pixels ·
    members (K,N) bool: the masks of each label.
    """

    labels: np.ndarray
    members: np.ndarray

    @property
    def count(self) -> int:
        return self.members.shape[1]


def label_picture(rles: Sequence[Rle], frame_size: tuple[int, int], size: tuple[int, int]) -> LabelPicture:
    """The picture of N masks of (H, W) = frame_size, at `size`: the nearest pixel where that is smaller."""
    labels = np.zeros(frame_size, np.int32)
    members = [np.zeros(len(rles), bool)]
    for number, rle in enumerate(rles):
        x, y, width, height = (int(v) for v in coco_mask.toBbox(rle))
        window = labels[y : y + height, x : x + width]
        inside = np.ascontiguousarray(coco_mask.decode(rle)[y : y + height, x : x + width])
        covered = window * inside
        # What shows of the new mask, then what it shares with every label that was there.
        for old in np.flatnonzero(np.bincount(covered.ravel())) if covered.any() else [0]:
            shared = (window == old) & (inside > 0)
            window[shared] = len(members)
            members.append(members[old] | (np.arange(len(rles)) == number))
    if size != frame_size:
        rows, columns = (_sample_positions(old, new) for old, new in zip(frame_size, size, strict=True))
        labels = labels[rows[:, None], columns[None, :]]
    return LabelPicture(labels, np.array(members))


def _sample_positions(length: int, samples: int) -> np.ndarray:
    """The pixels nearest to the centres of `samples` equal parts of 0..length-1."""
    return ((np.arange(samples) + 0.5) * length / samples).astype(np.int64)


def carried_ious(before: LabelPicture, after: LabelPicture, flow: np.ndarray | None) -> np.ndarray:
    """IoU of every mask of frame t, carried to t+1, with every mask of t+1, 0 where both are empty → (N,M) float64.

    before (N masks), after (M masks), both (h,w) · flow (2,h,w) = F_{t+1→t} in pixels of h×w: a carried mask is
    bilinear at p + flow(p), zero outside the frame, ≥ ½ (docs/method.md §5.1, 2). None: no movement.
    """
    if flow is None:
        shared, areas = _plain_overlaps(before, after.labels, after.members)
    else:
        shared, areas = _flow_overlaps(before, after, flow)
    unions = areas[:, None] + _areas(after)[None, :] - shared
    return shared / np.maximum(unions, 1)


def _areas(picture: LabelPicture) -> np.ndarray:
    return np.bincount(picture.labels.ravel(), minlength=len(picture.members)) @ picture.members.astype(np.float64)


def _plain_overlaps(before: LabelPicture, labels: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shared pixels (N,M) and areas (N,) of masks that stay where they are."""
    counts = _joint_counts(before.labels.ravel(), labels.ravel(), (len(before.members), len(members)))
    return _shared(before.members, counts, members), _areas(before)


def _flow_overlaps(before: LabelPicture, after: LabelPicture, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shared pixels (N,M) and areas (N,) of the carried masks."""
    wide = before.labels.shape[1] + 2 * _MARGIN
    padded = np.pad(before.labels, _MARGIN).ravel()
    shape = (len(before.members), len(after.members))
    counts, shared, areas = np.zeros(shape), np.zeros((before.count, after.count)), np.zeros(before.count)
    for top in range(0, len(after.labels), _ROWS):
        rows = slice(top, top + _ROWS)
        first, fractions = _positions(flow[:, rows], top, before.labels.shape)
        corners = [padded[step:].take(first) for step in (0, 1, wide, wide + 1)]
        here = after.labels[rows].ravel()
        differ = np.flatnonzero((corners[0] != corners[1]) | (corners[0] != corners[2]) | (corners[0] != corners[3]))
        # Everywhere as if the first neighbour were the label, then what is interpolated is taken out and put in anew.
        counts += _joint_counts(corners[0], here, shape)
        here = here[differ]
        corners = [corner[differ] for corner in corners]
        counts -= _joint_counts(corners[0], here, shape)
        inside = _interpolated(before.members, corners, *(fraction[differ] for fraction in fractions))
        shared += inside.T.astype(np.float32) @ after.members[here].astype(np.float32)
        areas += inside.sum(0)
    return shared + _shared(before.members, counts, after.members), areas + counts.sum(1) @ before.members


def _positions(flow: np.ndarray, top: int, size: tuple[int, ...]) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Where p + flow(p) lies, for every pixel p of some rows, the first of them row `top`.

    flow (2,r,w), size (h,w) of the frame → the pixel up and left of it, an index (r·w,) into the frame with a margin;
    and how far it is from that pixel in x and in y, each (r·w,) in 0..1.
    """
    height, width = size
    x = flow[0] + np.arange(width, dtype=np.float32)
    y = flow[1] + np.arange(top, top + flow.shape[1], dtype=np.float32)[:, None]
    left, above = np.floor(x), np.floor(y)
    fractions = ((x - left).ravel(), (y - above).ravel())
    np.clip(left, -_MARGIN, width, out=left)
    np.clip(above, -_MARGIN, height, out=above)
    rows = (above.astype(np.intp) + _MARGIN) * (width + 2 * _MARGIN)
    return (rows + left.astype(np.intp) + _MARGIN).ravel(), fractions


def _interpolated(members: np.ndarray, corners: Sequence[np.ndarray], wx: np.ndarray, wy: np.ndarray) -> np.ndarray:
    """Which masks are ≥ ½ at some positions: labels of the four neighbours (P,), weights (P,) → (P,N) bool."""
    weights = ((1 - wx) * (1 - wy), wx * (1 - wy), (1 - wx) * wy, wx * wy)
    table = members.astype(np.float32)
    value = sum(weight[:, None] * table[corner] for weight, corner in zip(weights, corners, strict=True))
    return np.asarray(value >= 0.5)


def _joint_counts(a: np.ndarray, b: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """How many pixels have label i in a and j in b: (P,), (P,) → `shape` float64."""
    pairs = np.bincount(a * np.int32(shape[1]) + b, minlength=shape[0] * shape[1])
    return pairs.reshape(shape).astype(np.float64)


def _shared(members_a: np.ndarray, counts: np.ndarray, members_b: np.ndarray) -> np.ndarray:
    return members_a.T.astype(np.float64) @ counts @ members_b.astype(np.float64)
