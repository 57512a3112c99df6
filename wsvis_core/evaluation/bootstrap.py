"""Confidence intervals of the VIS metrics by a bootstrap over videos (docs/evaluation.md).

A resample draws as many videos as there are, with replacement; a video drawn twice counts as two videos. Matches
belong to one video each, so they are computed once, and only the accumulation is done again: for all resamples at
once, from how often each video was drawn.
Letters: B resamples, V videos, N parts (a video's matches of one category), A, M, K, T as in averages.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsvis_core.evaluation.averages import AREA_RANGES, MAX_DETECTIONS, Tables, averages
from wsvis_core.evaluation.ground_truth import GroundTruth
from wsvis_core.evaluation.matching import IOU_THRESHOLDS, RECALL_POINTS, Matches

_CHUNK = 250  # resamples accumulated at once: bounds the memory
Samples = dict[str, np.ndarray]


@dataclass(frozen=True)
class Bootstrap:
    """Number of resamples (0: no intervals), share of them that an interval holds, and the seed of the draws."""

    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def interval(self, samples: np.ndarray) -> list[float] | None:
        """[low, high], the quantiles that leave out as much on either side; NaN left out, None without any number."""
        known = samples[~np.isnan(samples)]
        if not len(known):
            return None
        tail = (1 - self.confidence) / 2
        return [float(value) for value in np.quantile(known, [tail, 1 - tail])]


@dataclass(frozen=True)
class ResampledMetrics:
    """Every metric of every resample: name -> (B,), and the same per category id; NaN without ground truth."""

    metrics: Samples
    per_category: Mapping[int, Samples]


def resample(matches: Mapping[tuple[int, int], Matches], truth: GroundTruth, settings: Bootstrap) -> ResampledMetrics:
    """The metrics of every resample; the same seed and number of videos give the same draws."""
    whole: list[Samples] = []
    categories: dict[int, list[Samples]] = {category: [] for category in truth.categories}
    for counts in draws(len(truth.videos), settings.resamples, settings.seed):
        tables = resampled_tables(matches, truth, counts)
        whole.append(averages(tables))
        for k, category in enumerate(truth.categories):
            categories[category].append(averages(tables.category(k)))
    return ResampledMetrics(_joined(whole), {category: _joined(parts) for category, parts in categories.items()})


def _joined(chunks: Sequence[Samples]) -> Samples:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]} if chunks else {}


def draws(videos: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each video is in each resample, (b,V) int64, in chunks of resamples."""
    generator = np.random.default_rng(seed)
    shares = np.full(videos, 1 / max(videos, 1))
    for first in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - first)
        yield generator.multinomial(videos, shares, size) if videos else np.zeros((size, 0), np.int64)


def resampled_tables(matches: Mapping[tuple[int, int], Matches], truth: GroundTruth, counts: np.ndarray) -> Tables:
    """Tables of the data sets in which video v, in ascending order of ids, occurs counts[:, v] times; counts (B,V).

    The copies of a video stand beside each other in the order of videos, which matters for equal scores.
    """
    position = {video: v for v, video in enumerate(truth.videos)}
    shape = (len(counts), len(AREA_RANGES))
    sizes = (len(truth.categories), len(IOU_THRESHOLDS))
    precision = np.full((*shape, *sizes), np.nan)
    recall = np.full((*shape, len(MAX_DETECTIONS), *sizes), np.nan)
    for k, category in enumerate(truth.categories):
        mine = [(m, counts[:, position[video]]) for (owner, video), m in matches.items() if owner == category]
        pairs = [pair for part, times in mine for pair in _copies(part, times)]
        if pairs:
            parts = [part for part, _ in pairs]
            weights = np.stack([times for _, times in pairs], axis=1).astype(np.float64)
            precision[:, :, k], recall[:, :, :, k] = _accumulate(parts, weights)
    return Tables(precision, recall)


def _copies(part: Matches, times: np.ndarray) -> list[tuple[Matches, np.ndarray]]:
    """The part with its weights (B,) – or, where that is not the same, once for every copy, with weights 0 and 1.

    A weight w stands for w equal detections in a row. But right and wrong detections of one video with equal scores
    take turns, copy by copy.
    """
    tied = part.scores[1:] == part.scores[:-1]
    differ = (np.diff(part.matched, axis=-1) | np.diff(part.ignored, axis=-1)).any(axis=(0, 1))
    if not (tied & differ).any():
        return [(part, times)]
    return [(part, times > copy) for copy in range(int(times.max(initial=0)))]


def _accumulate(parts: Sequence[Matches], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision (B,A,T) and largest recall (B,A,M,T) of one category, its N parts weighted by (B,N)."""
    positives = weights @ np.stack([part.positives for part in parts])
    unknown = np.where(positives > 0, positives, np.nan)
    reached = [_right_counts(part) for part in parts]
    recall = np.einsum("bn,namt->bamt", weights, np.stack(reached)) / unknown[:, :, None, None]
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")
    owner = np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts])[order]
    counts = ~np.concatenate([part.ignored for part in parts], axis=2)[:, :, order]
    matched = np.concatenate([part.matched for part in parts], axis=2)[:, :, order]
    precision = np.empty((len(weights), *matched.shape[:2]))
    for a, t in np.ndindex(matched.shape[:2]):
        right, wrong = matched[a, t] & counts[a, t], ~matched[a, t] & counts[a, t]
        precision[:, a, t] = _average_precision(right, wrong, owner, weights, unknown[:, a])
    return precision, recall


def _right_counts(part: Matches) -> np.ndarray:
    """(A,M,T) number of right detections among the best of one part."""
    right = part.matched & ~part.ignored
    return np.stack([right[..., :count].sum(axis=-1) for count in MAX_DETECTIONS], axis=1)


def _average_precision(
    right: np.ndarray, wrong: np.ndarray, owner: np.ndarray, weights: np.ndarray, positives: np.ndarray
) -> np.ndarray:
    """(B,) average precision of D detections in descending score, right (D,) and wrong (D,) bool, of parts owner (D,).

    Precision is highest, and recall grows, at right detections only; so their H places are all that is looked at.
    """
    places = np.flatnonzero(right)
    if not len(places):
        return np.where(np.isnan(positives), np.nan, 0.0)
    hits = weights @ _running(owner[places], np.arange(len(places)), weights.shape[1], len(places))
    before = np.cumsum(right)[wrong]
    misses = weights @ _running(owner[wrong], before, weights.shape[1], len(places))
    precision = hits / np.maximum(hits + misses, 1.0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(RECALL_POINTS, hits / np.where(np.isnan(positives), 1.0, positives)[:, None], "right")
    points = np.diff(reached, axis=1, prepend=0)
    return np.where(np.isnan(positives), np.nan, (best * points).sum(axis=1) / len(RECALL_POINTS))


def _running(owner: np.ndarray, first: np.ndarray, parts: int, places: int) -> np.ndarray:
    """(N,H) how many detections of each part there are up to each place, from the first place each belongs to."""
    inside = first < places
    found = np.bincount(owner[inside] * places + first[inside], minlength=parts * places)
    return np.cumsum(found.reshape(parts, places), axis=1, dtype=np.float64)


def add_intervals(metrics: dict[str, Any], resampled: ResampledMetrics, settings: Bootstrap) -> dict[str, Any]:
    """The metrics of `evaluate_video_results` with "intervals" for the whole and for every category.

    Each maps a metric to [low, high], or to null where no resample has ground truth for it.
    """
    found = {name: settings.interval(samples) for name, samples in resampled.metrics.items()}
    rows = [
        row
        | {
            "intervals": {
                name: settings.interval(samples)
                for name, samples in resampled.per_category[row["category_id"]].items()
                if name in row
            }
        }
        for row in metrics["per_category"]
    ]
    how = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seed}
    return metrics | {"per_category": rows, "intervals": found, "bootstrap": how}
