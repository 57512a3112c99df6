"""Whether estimates tell right from wrong (AUC), and mean what they say (Brier score, calibration error, bins)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

BINS = 10


def auc(values: np.ndarray, right: np.ndarray) -> float | None:
    """Probability that a right one has the larger value than a wrong one, ties count half; None without one of them.

    values (N,), right (N,) bool → 0..1; 0.5 is chance.
    """
    right = np.asarray(right, bool)
    positive, negative = int(right.sum()), int((~right).sum())
    if not positive or not negative:
        return None
    ranks = rankdata(values)
    return float((ranks[right].sum() - positive * (positive + 1) / 2) / (positive * negative))


def brier(estimates: np.ndarray, right: np.ndarray) -> float | None:
    """Mean of (estimate − right)², 0 is best; None without any."""
    return float(np.mean((estimates - np.asarray(right, float)) ** 2)) if len(estimates) else None


def reliability_bins(estimates: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[dict[str, Any]]:
    """Equal bins of the estimate 0..1, empty ones too: low, high, tracks, and with tracks mean_estimate, right_share.

    A bin holds low ≤ estimate < high, the last one 1 as well.
    """
    place = np.minimum((np.asarray(estimates) * bins).astype(int), bins - 1)
    rows = []
    for k in range(bins):
        inside = place == k
        row: dict[str, Any] = {"low": k / bins, "high": (k + 1) / bins, "tracks": int(inside.sum())}
        if inside.any():
            row["mean_estimate"] = float(np.asarray(estimates)[inside].mean())
            row["right_share"] = float(np.asarray(right, float)[inside].mean())
        rows.append(row)
    return rows


def calibration_error(rows: list[dict[str, Any]]) -> float | None:
    """Expected calibration error: mean over tracks of |mean_estimate − right_share| of their bin; None without any."""
    total = sum(row["tracks"] for row in rows)
    if not total:
        return None
    return sum(row["tracks"] * abs(row["mean_estimate"] - row["right_share"]) for row in rows if row["tracks"]) / total
