"""Frame-level class labels: the only supervision the method uses (docs/method.md §8.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


def frame_labels(
    num_frames: int, category_ids: Sequence[int], tracks: Iterable[tuple[int, Sequence[Any | None]]]
) -> np.ndarray:
    """bool (T,C): class c is positive in frame t iff some track of that class has a segmentation (not None) at t.

    ``tracks`` are (category id, T segmentations or None); ``category_ids`` are sorted, class index = position.
    Frames without any track stay all-negative.
    """
    index = {category_id: position for position, category_id in enumerate(category_ids)}
    labels = np.zeros((num_frames, len(category_ids)), dtype=bool)
    for category_id, segmentations in tracks:
        present = np.asarray([segmentation is not None for segmentation in segmentations], dtype=bool)
        labels[:, index[category_id]] |= present
    return labels


def labels_to_json(labels: Mapping[int, np.ndarray], category_ids: Sequence[int]) -> dict[str, Any]:
    """The content of class_labels.json: per video and frame the sorted ids of the categories that occur."""
    videos = {
        str(video_id): [[int(category_ids[c]) for c in np.flatnonzero(row)] for row in labels[video_id]]
        for video_id in sorted(labels)
    }
    return {"version": 1, "videos": videos}


def labels_from_json(value: Mapping[str, Any], category_ids: Sequence[int]) -> dict[int, np.ndarray]:
    """Inverse of ``labels_to_json``: video id -> bool (T,C)."""
    index = {category_id: position for position, category_id in enumerate(category_ids)}
    labels = {}
    for video_id, frames in value["videos"].items():
        array = np.zeros((len(frames), len(category_ids)), dtype=bool)
        for t, present in enumerate(frames):
            array[t, [index[category_id] for category_id in present]] = True
        labels[int(video_id)] = array
    return labels
