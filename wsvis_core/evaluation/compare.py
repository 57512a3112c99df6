"""Is one result list better than another? The difference, and how far it hangs on the choice of videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wsvis_core.evaluation.bootstrap import Bootstrap, ResampledMetrics, Samples


def compare_metrics(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    resampled: tuple[ResampledMetrics, ResampledMetrics] | None,
    settings: Bootstrap,
) -> dict[str, Any]:
    """B against A, from both metrics of `evaluate_video_results` and the metrics of the same resamples.

    Keys: metrics {name: row} and per_category, a list of {category_id, name, metrics}. A row has a, b, difference
    (b - a), interval [low, high] of the difference over the resamples, and share_b_better, the share of the resamples
    in which B is better, equal ones not counted. interval and share_b_better are null without resamples; all is null
    where a metric is unknown for want of ground truth.
    """
    whole = None if resampled is None else (resampled[0].metrics, resampled[1].metrics)
    rows = []
    for first, second in zip(a["per_category"], b["per_category"], strict=True):
        category = first["category_id"]
        samples = None if resampled is None else tuple(r.per_category[category] for r in resampled)
        found = _rows(first, second, samples, settings)
        rows.append({"category_id": category, "name": first["name"], "metrics": found})
    return {"metrics": _rows(a, b, whole, settings), "per_category": rows}


def _rows(
    a: Mapping[str, Any], b: Mapping[str, Any], samples: tuple[Samples, ...] | None, settings: Bootstrap
) -> dict[str, dict[str, Any]]:
    names = [name for name in a if name == "mAP" or name.startswith(("AP", "AR"))]
    return {name: _row(a[name], b[name], samples and [s[name] for s in samples], settings) for name in names}


def _row(a: float, b: float, samples: list[np.ndarray] | None, settings: Bootstrap) -> dict[str, Any]:
    if a < 0 or b < 0:
        return dict.fromkeys(("a", "b", "difference", "interval", "share_b_better"))
    row: dict[str, Any] = {"a": a, "b": b, "difference": b - a, "interval": None, "share_b_better": None}
    if samples is not None:
        differences = samples[1] - samples[0]
        known = differences[~np.isnan(differences)]
        row["interval"] = settings.interval(differences)
        row["share_b_better"] = float((known > 0).mean()) if len(known) else None
    return row
