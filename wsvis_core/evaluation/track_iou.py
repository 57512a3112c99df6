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


def track_ious(a: Sequence[Masks], b: Sequence[Masks], areas_a: np.ndarray, areas_b: np.ndarray) -> np.ndarray:
    """Σ_t |a_t∩b_t| / Σ_t |a_t∪b_t| of every pair, 0 where the union is empty.

    N and M tracks of T frames with their areas (N,T), (M,T) → (N,M) float64. A frame in which only one of the two
    has a mask adds that mask to the union. One RLE call per frame, on the tracks present in it.
    """
    shared = np.zeros((len(a), len(b)))
    for t in np.flatnonzero((areas_a > 0).any(axis=0) & (areas_b > 0).any(axis=0)):
        rows, columns = np.flatnonzero(areas_a[:, t]), np.flatnonzero(areas_b[:, t])
        masks_a = [mask for mask in (a[n][t] for n in rows) if mask is not None]
        masks_b = [mask for mask in (b[m][t] for m in columns) if mask is not None]
        shared[np.ix_(rows, columns)] += rle_intersections(masks_a, masks_b, areas_a[rows, t], areas_b[columns, t])
    union = areas_a.sum(axis=1)[:, None] + areas_b.sum(axis=1)[None, :] - shared
    return shared / np.maximum(union, 1.0)


def mean_areas(areas: np.ndarray) -> np.ndarray:
    """Mean of the non-zero areas of each track, 0 if there is none: (N,T) → (N,)."""
    present = (areas > 0).sum(axis=1)
    return areas.sum(axis=1) / np.maximum(present, 1)
