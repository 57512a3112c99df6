"""IoUTracker+: each track takes the free box that overlaps its last one most (docs/method.md §6.7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsvis_core.config import IouTrackerSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.tracking.assignment import box_ious
from wsvis_core.tracking.tracks import Chain, Place


def link_iou(proposals: Sequence[EncodedInstances], settings: IouTrackerSettings) -> list[Chain]:
    """Chains of T frames of proposals, best score first; looks at neither flow nor appearance.

    Tracks choose in the order they began, and end at their first miss. Paper silent on what its "+" means: here a
    track takes proposals of its own class, and among those with enough IoU the largest IoU × detection score.
    """
    finished: list[list[Place]] = []
    active: list[list[Place]] = []
    for t, frame in enumerate(proposals):
        free = set(range(len(frame)))
        extended = []
        fits = _fits([_at(proposals, path[-1]) for path in active], frame, settings)
        for path, row in zip(active, fits, strict=True):
            best = max(free, key=lambda i: (row[i], -i), default=None)
            if best is None or row[best] < 0:
                finished.append(path)
                continue
            free.remove(best)
            path.append((t, best))
            extended.append(path)
        active = extended + [[(t, i)] for i in sorted(free)]
    chains = [path for path in finished + active if _is_track(path, proposals, settings)]
    return [Chain(tuple(path)) for path in sorted(chains)]


def _at(proposals: Sequence[EncodedInstances], place: Place) -> tuple[np.ndarray, int]:
    t, i = place
    return proposals[t].boxes_xyxy[i], int(proposals[t].classes[i])


def _fits(last: Sequence[tuple[np.ndarray, int]], frame: EncodedInstances, settings: IouTrackerSettings) -> np.ndarray:
    """How well every proposal continues every track (N,M) float64; −1 where it must not."""
    boxes = np.array([box for box, _ in last], np.float32).reshape(len(last), 4)
    overlaps = box_ious(boxes, frame.boxes_xyxy)
    allowed = overlaps >= settings.min_iou
    if settings.same_class:
        allowed &= np.array([c for _, c in last], np.int64)[:, None] == frame.classes[None, :]
    worth = overlaps * frame.scores[None, :] if settings.score_in_cost else overlaps
    return np.where(allowed, worth, -1.0)


def _is_track(path: Sequence[Place], proposals: Sequence[EncodedInstances], settings: IouTrackerSettings) -> bool:
    best = max(float(proposals[t].scores[i]) for t, i in path)
    return len(path) >= settings.min_length and best >= settings.min_best_score
