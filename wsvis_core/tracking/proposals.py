"""Proposals: the instances of a frame that a tracker may use (docs/method.md §5.1, 1; §5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wsvis_core.config import TrackingSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.overlap import OverlapMeasure, rle_areas, rle_overlaps


def clean_proposals(frame: EncodedInstances, settings: TrackingSettings) -> EncodedInstances:
    """The instances that are good enough, not empty, and do not overlap; best score first.

    Overlaps count between all classes, with `per_class` only within one. Doing it twice changes nothing.
    """
    usable = (frame.scores >= settings.min_score) & (rle_areas(frame.rles) > 0)
    frame = select(frame, np.flatnonzero(usable).tolist())
    groups = np.unique(frame.classes).tolist() if settings.per_class else [None]
    kept: list[int] = []
    for wanted in groups:
        numbers = range(len(frame)) if wanted is None else np.flatnonzero(frame.classes == wanted).tolist()
        part = select(frame, numbers)
        survivors = remove_overlaps(
            part.rles, part.scores, threshold=settings.overlap_threshold, measure=settings.overlap_measure
        )
        kept += [numbers[i] for i in survivors]
    kept.sort(key=lambda i: (-frame.scores[i], i))
    return select(frame, kept)


def of_class(frame: EncodedInstances, wanted: int) -> EncodedInstances:
    """The instances of one class, in their order."""
    return select(frame, np.flatnonzero(frame.classes == wanted).tolist())


def of_classes(frame: EncodedInstances, wanted: np.ndarray) -> EncodedInstances:
    """The instances of some classes, wanted (C,) bool, in their order."""
    return select(frame, np.flatnonzero(wanted[frame.classes]).tolist())


def select(frame: EncodedInstances, numbers: Sequence[int]) -> EncodedInstances:
    """Some instances of a frame, in the order of `numbers`."""
    index = np.asarray(numbers, np.int64)
    return EncodedInstances(
        frame.size,
        tuple(frame.rles[i] for i in numbers),
        frame.classes[index],
        frame.scores[index],
        frame.boxes_xyxy[index],
        None if frame.appearance is None else frame.appearance[index],
    )


def without_appearance(frames: Sequence[EncodedInstances]) -> list[EncodedInstances]:
    """The same frames, appearance left out."""
    return [replace(frame, appearance=None) for frame in frames]


def appearance_of(proposals: Sequence[EncodedInstances]) -> list[np.ndarray]:
    """Appearance (N,D) float32 of every frame; zeros (N,1) for all of them when any proposal lacks it."""
    if any(frame.appearance is None for frame in proposals if len(frame)):
        return [np.zeros((len(frame), 1), np.float32) for frame in proposals]
    width = next((frame.appearance.shape[1] for frame in proposals if frame.appearance is not None), 1)
    nothing = np.zeros((0, width), np.float32)
    return [nothing if frame.appearance is None else np.asarray(frame.appearance, np.float32) for frame in proposals]


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Rows of (N,D) divided by their length; a row of zeros stays, so that its cosine with anything is 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def remove_overlaps(
    rles: Sequence[Rle], scores: np.ndarray, *, threshold: float = 0.2, measure: OverlapMeasure = "iou"
) -> list[int]:
    """Numbers of the proposals that survive, best score first: of two that overlap by ≥ threshold the better.

    rles N, scores (N,). Class-agnostic and greedy, which equals the published repeated walk on score-sorted input;
    equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = rle_overlaps(rles, rles, measure)
    kept: list[int] = []
    for candidate in order:
        if not kept or overlaps[candidate, kept].max() < threshold:
            kept.append(int(candidate))
    return kept
