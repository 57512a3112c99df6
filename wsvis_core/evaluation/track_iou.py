"""IoU and area of tracks, from the edges of their masks (docs/method.md §5.4).

Letters: T frames, N result tracks, M true tracks, P pixels of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsvis_core.compiled import compiled
from wsvis_core.evaluation.matching import IOU_THRESHOLDS
from wsvis_core.evaluation.run_lengths import MaskEdges, decode_rles
from wsvis_core.storage.rle import Rle

Masks = Sequence[Rle | None]


class TrueShapes:
    """The true tracks of one video and category, made ready to be compared with many result tracks."""

    def __init__(self, tracks: Sequence[Masks], length: int, height: int) -> None:
        self._masks = decode_rles([mask for track in tracks for mask in track if mask is not None])
        present = np.array([[mask is not None for mask in track] for track in tracks], bool).reshape(-1, length)
        self._places = np.where(present, present.ravel().cumsum().reshape(present.shape) - 1, -1)
        self._areas = np.zeros(present.shape, np.int64)
        self._areas[present] = self._masks.areas
        self._height = height

    def ious(self, masks: MaskEdges, frames: Sequence[int]) -> np.ndarray:
        """Σ_t |a_t∩b_t| / Σ_t |a_t∪b_t| with each true track, 0 where the union is empty → (M,) float64.

        masks: those of one result track, in `frames`, ascending. A frame in which only one of the two has a mask adds
        that mask to the union. 0 too where no matching can use the value, because it is below every threshold.
        """
        result = np.zeros(len(self._places))
        true = self._masks
        _ious(
            masks.edges, masks.starts, masks.areas, np.array(frames, np.int64),
            true.edges, true.starts, self._areas, self._places, self._height, IOU_THRESHOLDS[0], result,
        )  # fmt: skip
        return result


@compiled
def _ious(edges, starts, areas, frames, true_edges, true_starts, true_areas, places, height, least, result):
    """The IoU of a track with each of M others into `result`, 0 where it is below `least`.

    What two masks share is at most the smaller of them, and at most the columns of the frame they both touch. Counting
    the pixels ends as soon as even these bounds in the frames to come cannot lift the IoU to `least`.
    """
    total = areas.sum()
    bounds = np.zeros(len(frames), np.int64)
    for m in range(len(places)):
        both = total + true_areas[m].sum()
        most = 0
        for k in range(len(frames)):
            bounds[k] = 0
            other = places[m, frames[k]]
            if other >= 0:
                columns = _shared_columns(edges, starts, k, true_edges, true_starts, other, height)
                bounds[k] = min(areas[k], true_areas[m, frames[k]], max(columns, 0) * height)
            most += bounds[k]
        # Whole numbers below 2^53 and rounded division keep the order: no IoU is above its bound.
        k = 0
        while k < len(frames) and most > 0 and most / (both - most) >= least:
            if bounds[k] > 0:
                other = places[m, frames[k]]
                most += _shared(edges, starts, k, true_edges, true_starts, other) - bounds[k]
            k += 1
        if most > 0 and most / (both - most) >= least:
            result[m] = most / (both - most)


@compiled
def _shared_columns(a, a_starts, i, b, b_starts, j, height):
    """Columns between the first and the last pixel of both mask i and mask j, 0 or less if there are none.

    Too many where a mask has an empty run at its beginning or end.
    """
    left, right = 0, np.int64(1) << 62
    for edges, first, end in ((a, a_starts[i], a_starts[i + 1]), (b, b_starts[j], b_starts[j + 1])):
        count = (end - first) // 2 * 2
        if count == 0:
            return 0
        left = max(left, edges[first] // height)
        right = min(right, (edges[first + count - 1] + height - 1) // height)
    return right - left


@compiled
def _shared(a, a_starts, i, b, b_starts, j):
    """Pixels in both mask i of the edges `a` and mask j of the edges `b`."""
    p, p_end, q, q_end = a_starts[i], a_starts[i + 1] - 1, b_starts[j], b_starts[j + 1] - 1
    shared = 0
    while p < p_end and q < q_end:
        first, last = max(a[p], b[q]), min(a[p + 1], b[q + 1])
        shared += max(last - first, 0)
        if a[p + 1] < b[q + 1]:
            p += 2
        else:
            q += 2
    return shared


def mean_areas(areas: np.ndarray) -> np.ndarray:
    """Mean of the non-zero areas of each track, 0 if there is none: (N,T) → (N,)."""
    present = (areas > 0).sum(axis=1)
    return areas.sum(axis=1) / np.maximum(present, 1)
