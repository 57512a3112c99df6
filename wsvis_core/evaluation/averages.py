"""From matches to precision and recall per category, and to the metrics that average them (docs/method.md §5.4).

Letters: A area ranges, M numbers of detections, K categories, T IoU thresholds, R recall points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsvis_core.evaluation.matching import IOU_THRESHOLDS, RECALL_POINTS, Matches, precision_recall

AREA_RANGES: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 128.0**2),
    "medium": (128.0**2, 256.0**2),
    "large": (256.0**2, 1e10),
}
MAX_DETECTIONS = (1, 10, 100)
AT_50, AT_75 = 0, 5  # places in IOU_THRESHOLDS


@dataclass(frozen=True)
class Tables:
    """precision (…,A,K,T): average precision with the most detections · recall (…,A,M,K,T): the largest reached.

    NaN where a category has no ground truth that counts. curves (K,T,R): precision at the recall points, all areas.
    """

    precision: np.ndarray
    recall: np.ndarray
    curves: np.ndarray | None = None

    def category(self, k: int) -> Tables:
        """The tables of one category."""
        return Tables(self.precision[..., k : k + 1, :], self.recall[..., k : k + 1, :])


def category_tables(parts: Sequence[Sequence[Matches]]) -> Tables:
    """The tables of K categories from each one's matches, in ascending order of the video ids."""
    shape = (len(parts), len(IOU_THRESHOLDS))
    precision = np.full((len(AREA_RANGES), *shape), np.nan)
    recall = np.full((len(AREA_RANGES), len(MAX_DETECTIONS), *shape), np.nan)
    curves = np.full((*shape, len(RECALL_POINTS)), np.nan)
    for k, category in enumerate(parts):
        for m, count in enumerate(MAX_DETECTIONS):
            best = [part.top(count) for part in category]
            for a in range(len(AREA_RANGES)):
                curve = precision_recall(best, a)
                if curve is None:
                    continue
                precision[a, k], recall[a, m, k] = curve[0].mean(axis=1), curve[1]
                if a == 0:
                    curves[k] = curve[0]
    return Tables(precision, recall, curves)


def averages(tables: Tables) -> dict[str, np.ndarray]:
    """Means over the categories with ground truth and over thresholds, each (…); NaN where there is none.

    Keys: mAP (IoU .50:.05:.95), AP50, AP75, AR1, AR10, AR100, and AP and AR of small, medium and large tracks.
    """
    precision, recall = tables.precision, tables.recall
    means = {
        "mAP": _mean(precision[..., 0, :, :]),
        "AP50": _mean(precision[..., 0, :, AT_50 : AT_50 + 1]),
        "AP75": _mean(precision[..., 0, :, AT_75 : AT_75 + 1]),
    }
    means |= {f"AR{count}": _mean(recall[..., 0, m, :, :]) for m, count in enumerate(MAX_DETECTIONS)}
    for a, name in list(enumerate(AREA_RANGES))[1:]:
        means[f"AP_{name}"] = _mean(precision[..., a, :, :])
        means[f"AR_{name}"] = _mean(recall[..., a, -1, :, :])
    return means


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last two axes, NaN left out."""
    known = ~np.isnan(values)
    count = known.sum(axis=(-2, -1))
    total = np.where(known, values, 0.0).sum(axis=(-2, -1))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
