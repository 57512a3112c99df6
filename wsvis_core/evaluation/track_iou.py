"""IoU and area of tracks, from the runs of their RLEs (docs/method.md §5.4).

Letters: T frames, N result tracks, M true tracks, P pixels of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsvis_core.evaluation.matching import IOU_THRESHOLDS
from wsvis_core.evaluation.run_lengths import MaskRuns, counts_of, decode_runs
from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.overlap import rle_areas

Masks = Sequence[Rle | None]


@dataclass(frozen=True)
class Tracks:
    """Tracks of one video, with their masks' runs.

    masks (N,T) int64: a mask's place in `runs`, -1 where there is none; the masks of a track stand in order of frames.
    areas (N,T) float64 in pixels · left, right (N,T) int64: columns of the frame that hold a mask, right excluded.
    """

    runs: MaskRuns
    masks: np.ndarray
    areas: np.ndarray
    left: np.ndarray
    right: np.ndarray


def tracks_of(runs: MaskRuns, masks: np.ndarray, height: int, width: int) -> Tracks:
    """The tracks with `masks` (N,T), places in `runs` or -1, of frames height×width that the runs fill."""
    found, mask = masks >= 0, masks[masks >= 0]
    areas = np.zeros(masks.shape)
    left, right = np.zeros((2, *masks.shape), np.int64)
    areas[found] = runs.areas[mask]
    first, end = runs.spans(mask, height * width)
    left[found], right[found] = first // height, (end + height - 1) // height
    return Tracks(runs, masks, areas, left, right)


def tracks_of_rles(tracks: Sequence[Masks], length: int, height: int, width: int) -> Tracks:
    """The same of N lists of T compressed RLEs or None."""
    places = [(n, t) for n, track in enumerate(tracks) for t, mask in enumerate(track) if mask is not None]
    texts = counts_of([mask for track in tracks for mask in track if mask is not None])
    masks = np.full((len(tracks), length), -1)
    for k, place in enumerate(places):
        masks[place] = k
    return tracks_of(decode_runs(b"".join(texts), [len(text) for text in texts]), masks, height, width)


class TrueShapes:
    """The true tracks of one video and category, made ready to be compared with many result tracks."""

    def __init__(self, tracks: Sequence[Masks], length: int, height: int, width: int) -> None:
        self._tracks = tracks_of_rles(tracks, length, height, width)
        self._height, self._pixels = height, height * width
        self._before: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def ious(self, found: Tracks) -> np.ndarray:
        """Σ_t |a_t∩b_t| / Σ_t |a_t∪b_t| of every pair, 0 where the union is empty → (N,M) float64.

        A frame in which only one of the two has a mask adds that mask to the union. 0 too where no matching can use
        the value: where even the largest intersection that areas and columns allow is too small for any threshold.
        """
        areas, true_areas = found.areas[:, None], self._tracks.areas[None]
        left = np.maximum(found.left[:, None], self._tracks.left)
        right = np.minimum(found.right[:, None], self._tracks.right)
        most = np.minimum(np.minimum(areas, true_areas), (right - left).clip(min=0) * self._height).sum(axis=2)
        both = areas.sum(axis=2) + true_areas.sum(axis=2)
        shared = np.zeros(most.shape)
        # Whole numbers below 2^53 and rounded division keep the order: no IoU is above this bound.
        possible = (most > 0) & (most / np.maximum(both - most, 1.0) >= IOU_THRESHOLDS[0])
        for n in np.flatnonzero(possible.any(axis=1)).tolist():
            edges = _edges(found, n, self._pixels)
            for m in np.flatnonzero(possible[n]).tolist():
                before = np.interp(edges, *self._pixels_before(m))
                shared[n, m] = before[1::2].sum() - before[0::2].sum()
        return shared / np.maximum(both - shared, 1.0)

    def _pixels_before(self, m: int) -> tuple[np.ndarray, np.ndarray]:
        """The edges of track m and its pixels before each: in between, these grow by one per pixel or not at all."""
        if m not in self._before:
            edges = _edges(self._tracks, m, self._pixels)
            inside = np.zeros(len(edges))
            inside[1::2] = edges[1::2] - edges[0::2]
            self._before[m] = edges, np.cumsum(inside)
        return self._before[m]


def _edges(tracks: Tracks, n: int, pixels: int) -> np.ndarray:
    """Where the mask of track n begins and ends in turn, counting the pixels of all frames on → (2K,) float64."""
    frames = np.flatnonzero(tracks.masks[n] >= 0)
    first, last = tracks.masks[n, frames[[0, -1]]]
    bounds = tracks.runs.starts[first : last + 2] - tracks.runs.starts[first]
    runs = tracks.runs.runs[tracks.runs.starts[first] : tracks.runs.starts[last + 1]].astype(np.float64)
    # Frames without a mask before each one with a mask.
    runs[bounds[:-1]] += np.diff(frames, prepend=-1) * float(pixels) - pixels
    edges = np.cumsum(runs, out=runs)
    # After an odd number of runs the last edge is the end of the frame and not of the mask.
    return np.delete(edges, bounds[1:][np.diff(bounds) % 2 == 1] - 1)


def track_areas(tracks: Sequence[Masks], length: int) -> np.ndarray:
    """Pixels of every mask, 0 where there is none: N tracks of `length` frames → (N,length) float64."""
    areas = np.zeros((len(tracks), length))
    present = [(n, t, mask) for n, track in enumerate(tracks) for t, mask in enumerate(track) if mask is not None]
    rows, columns = [n for n, _, _ in present], [t for _, t, _ in present]
    areas[rows, columns] = rle_areas([mask for _, _, mask in present])
    return areas


def mean_areas(areas: np.ndarray) -> np.ndarray:
    """Mean of the non-zero areas of each track, 0 if there is none: (N,T) → (N,)."""
    present = (areas > 0).sum(axis=1)
    return areas.sum(axis=1) / np.maximum(present, 1)
