"""Greedy matching of detections to ground truth, and average precision from it (docs/method.md §5.4).

Letters: D detections, G ground truths, A area ranges, T IoU thresholds, K categories, R recall points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsvis_core.compiled import compiled

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Matches:
    """Outcome of one video and category, detections in descending score.

    scores (D,) · matched and ignored (A,T,D) bool: has a ground truth / counts neither as right nor as wrong ·
    positives (A,) number of ground truths that count.
    """

    scores: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    positives: np.ndarray

    def top(self, count: int) -> Matches:
        """The same with the `count` best detections only; valid because matching is greedy in score order."""
        keep = slice(0, count)
        return Matches(self.scores[keep], self.matched[..., keep], self.ignored[..., keep], self.positives)


def match(
    ious: np.ndarray,
    scores: np.ndarray,
    *,
    crowd: np.ndarray,
    outside: np.ndarray,
    detection_outside: np.ndarray,
    thresholds: np.ndarray = IOU_THRESHOLDS,
    max_detections: int = 100,
) -> Matches:
    """Matches of the `max_detections` best detections, for all area ranges and IoU thresholds at once.

    ious (D,G) · scores (D,) in the file's order · crowd (G,) bool · outside (A,G) and detection_outside (A,D) bool:
    not in the area range. A ground truth is ignored when crowd or outside; only a crowd can be matched twice.
    """
    order = np.argsort(-scores, kind="stable")[:max_detections]
    ignored_truth = crowd[None, :] | outside
    matched, ignored = _assign(ious[order], crowd, ignored_truth, thresholds)
    ignored |= ~matched & detection_outside[:, None, order]
    return Matches(scores[order], matched, ignored, (~ignored_truth).sum(axis=1))


def _assign(
    ious: np.ndarray, crowd: np.ndarray, ignored_truth: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(A,T,D) matched, and matched to an ignored ground truth; detections take turns in the given order."""
    shape = (len(ignored_truth), len(thresholds), len(ious))
    matched, ignored = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    if ious.size:
        _assign_each(ious, crowd, ignored_truth, np.minimum(thresholds, 1 - 1e-10), matched, ignored)
    return matched, ignored


@compiled
def _assign_each(ious, crowd, ignored_truth, floors, matched, ignored):
    """Fills `matched` and `ignored`: a ground truth that counts goes before an ignored one, whatever their IoU."""
    areas, thresholds, detections = matched.shape
    taken = np.empty(len(crowd), np.bool_)
    for a in range(areas):
        for t in range(thresholds):
            taken[:] = False
            for d in range(detections):
                choice = _best(ious[d], floors[t], taken, crowd, ignored_truth[a], False)
                if choice < 0:
                    choice = _best(ious[d], floors[t], taken, crowd, ignored_truth[a], True)
                    ignored[a, t, d] = choice >= 0
                if choice >= 0:
                    matched[a, t, d] = True
                    taken[choice] = True


@compiled
def _best(ious, floor, taken, crowd, ignored_truth, ignored):
    """The free ground truth with the largest IoU from `floor` on, the last of equals; −1 if there is none."""
    choice = -1
    for g in range(len(ious)):
        free = ignored_truth[g] == ignored and (crowd[g] or not taken[g])
        if free and ious[g] >= floor:
            choice, floor = g, ious[g]
    return choice


def precision_recall(parts: Sequence[Matches], area: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Precision (T,R) at the recall points, and the largest recall (T,), of one category over all videos.

    parts: Matches in ascending order of the video ids · area: index of the area range. None when no ground truth
    counts in that range. Precision is made monotone from the right and is 0 beyond the largest recall.
    """
    positives = sum(int(part.positives[area]) for part in parts)
    if positives == 0:
        return None
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")
    matched = np.concatenate([part.matched[area] for part in parts], axis=1)[:, order]
    counts = ~np.concatenate([part.ignored[area] for part in parts], axis=1)[:, order]
    right = np.cumsum(matched & counts, axis=1).astype(np.float64)
    wrong = np.cumsum(~matched & counts, axis=1).astype(np.float64)
    recall = right / positives
    # The official code divides by right + wrong + 2e-16; a perfect result is exactly 1 here.
    precision = right / np.maximum(right + wrong, 1.0)
    largest = recall[:, -1] if recall.shape[1] else np.zeros(len(recall))
    return _sample(precision, recall), largest


def _sample(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
    index = [np.searchsorted(row, RECALL_POINTS, side="left") for row in recall]
    return np.take_along_axis(envelope, np.asarray(index), axis=1)
