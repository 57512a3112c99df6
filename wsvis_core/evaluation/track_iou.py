"""IoU and area of tracks, from RLEs (docs/method.md §5.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.overlap import rle_areas, rle_intersections

Masks = Sequence[Rle | None]


def track_areas(tracks: Sequence[Masks], length: int) -> np.ndarray:
    """Pixels of every mask, 0 where there is none: N tracks of `length` frames → (N,length) float64."""
    areas = np.zeros((len(tracks), length))
    present = [(n, t, mask) for n, track in enumerate(tracks) for t, mask in enumerate(track) if mask is not None]
    rows, columns = [n for n, _, _ in present], [t for _, t, _ in present]
    areas[rows, columns] = rle_areas([mask for _, _, mask in present])
    return areas


def track_ious(
    counts: Sequence[Sequence[bytes | None]], truth: Sequence[Masks], areas: np.ndarray, truth_areas: np.ndarray
) -> np.ndarray:
    """Σ_t |a_t∩b_t| / Σ_t |a_t∪b_t| of every pair, 0 where the union is empty.

    N tracks by the counts of their compressed RLEs, and M tracks, of T frames with their areas (N,T), (M,T) → (N,M)
    float64. A frame in which only one of the two has a mask adds that mask to the union. One RLE call per frame, on
    the tracks present in it.
    """
    shared = np.zeros((len(counts), len(truth)))
    for t in np.flatnonzero((areas > 0).any(axis=0) & (truth_areas > 0).any(axis=0)).tolist():
        rows, columns = np.flatnonzero(areas[:, t]), np.flatnonzero(truth_areas[:, t])
        true_masks = [mask for mask in (truth[m][t] for m in columns) if mask is not None]
        size = true_masks[0]["size"]
        masks = [{"size": size, "counts": counts[n][t]} for n in rows]
        shared[rows[:, None], columns] += rle_intersections(masks, true_masks, areas[rows, t], truth_areas[columns, t])
    union = areas.sum(axis=1)[:, None] + truth_areas.sum(axis=1)[None, :] - shared
    return shared / np.maximum(union, 1.0)


def mean_areas(areas: np.ndarray) -> np.ndarray:
    """Mean of the non-zero areas of each track, 0 if there is none: (N,T) → (N,)."""
    present = (areas > 0).sum(axis=1)
    return areas.sum(axis=1) / np.maximum(present, 1)
