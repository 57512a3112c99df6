"""One-to-one assignments: the largest overlaps, the smallest costs. Pure numpy."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from wsvis_core.mask_ops import box_iou

Assignment = Literal["hungarian", "greedy"]
Pair = tuple[int, int]
# What Hungarian sees of a forbidden pair lies this far above the limit, as in the published DeepSORT.
_BEYOND = 1e-5


def match_overlaps(
    overlaps: np.ndarray, *, threshold: float = 0.05, assignment: Assignment = "hungarian"
) -> list[Pair]:
    """Pairs (a, b) with an overlap > threshold, each a and b at most once, ascending in a.

    overlaps (N,M). `"hungarian"` maximises the sum, `"greedy"` takes the largest first (of equals the lowest a, b).
    """
    if assignment == "hungarian":
        pairs = _pairs(*linear_sum_assignment(overlaps, maximize=True))
    else:
        pairs = _greedy_pairs(overlaps)
    return sorted((a, b) for a, b in pairs if overlaps[a, b] > threshold)


def match_costs(costs: np.ndarray, limit: float) -> list[Pair]:
    """Pairs (a, b) with a cost ≤ limit, each a and b at most once, ascending in a: the smallest sum of costs.

    costs (N,M), inf for a pair that must not be. Costs above the limit count as if just above it, so that the sum
    never gives up good pairs for the sake of bad ones.
    """
    bounded = np.where(costs > limit, limit + _BEYOND, costs)
    pairs = _pairs(*linear_sum_assignment(bounded))
    return sorted((a, b) for a, b in pairs if costs[a, b] <= limit)


def box_ious(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every pair of boxes, 0 where the union is empty: (N,4) and (M,4) xyxy → (N,M) float64."""
    return box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy().astype(np.float64)


def _pairs(rows: np.ndarray, columns: np.ndarray) -> list[Pair]:
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _greedy_pairs(overlaps: np.ndarray) -> list[Pair]:
    pairs: list[Pair] = []
    left, right = set(range(overlaps.shape[0])), set(range(overlaps.shape[1]))
    for flat in np.argsort(-overlaps, axis=None, kind="stable"):
        a, b = divmod(int(flat), overlaps.shape[1])
        if a in left and b in right:
            pairs.append((a, b))
            left.remove(a)
            right.remove(b)
    return pairs
