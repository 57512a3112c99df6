"""The masks of compressed RLEs as sorted edges: checked, measured and compared without drawing them.

A run-length total that is not height×width makes the RLE operations of pycocotools loop without end, so it is
checked before any of them sees the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from wsvis_core.compiled import compiled
from wsvis_core.storage.rle import Rle

_MOST_DIGITS = 6  # 30 bits: more than any run of a frame needs, and no sum of runs leaves 64 bits
_SIZE, _COUNTS = itemgetter("size"), itemgetter("counts")
SOUND, WRONG_TOTAL, NO_CODE = 0, 1, 2


@dataclass(frozen=True)
class MaskEdges:
    """Where N masks begin and end in turn, in pixels of their frames counted down the columns.

    edges int64: of mask i, edges[starts[i]:starts[i + 1]], ascending; the mask holds the pixels from its first
    to before its second, from its third to before its fourth, …; the last one is the end of the frame ·
    starts (N+1,) int64 · areas (N,) int64 in pixels · state (N,) uint8, `worst` the largest of them: SOUND;
    WRONG_TOTAL, a negative run or runs that do not sum to the frame's pixels; NO_CODE, no sequence of numbers in the
    right alphabet. The edges and area of a mask that is not sound mean nothing.
    """

    edges: np.ndarray
    starts: np.ndarray
    areas: np.ndarray
    state: np.ndarray
    worst: int

    @property
    def wrong_totals(self) -> list[int]:
        """Positions of the masks whose runs do not fill their frame, ascending."""
        return np.flatnonzero(self.state == WRONG_TOTAL).tolist()


@dataclass(frozen=True)
class TrackCounts:
    """A track's compressed counts one after the other, the length of each, and the frames they are in."""

    text: bytes
    lengths: list[int]
    frames: list[int]

    def decode(self, pixels: int) -> MaskEdges:
        """The masks, of frames of `pixels`."""
        return decode_masks(self.text, self.lengths, np.full(len(self.lengths), pixels))


def track_counts(masks: Sequence[Rle | None]) -> TrackCounts:
    """The counts of compressed RLEs of the right form."""
    texts = counts_of([mask for mask in masks if mask is not None])
    frames = [frame for frame, mask in enumerate(masks) if mask is not None]
    return TrackCounts(b"".join(texts), [len(text) for text in texts], frames)


def plain_counts(masks: Sequence[Any], height: int, width: int) -> TrackCounts | None:
    """The same of masks that are all None or of height×width with counts that are ASCII text; None of any others."""
    frames = [frame for frame, mask in enumerate(masks) if mask is not None]
    present = [masks[frame] for frame in frames]
    try:
        sizes, texts = list(map(_SIZE, present)), list(map(_COUNTS, present))
        if sizes.count([height, width]) != len(sizes):
            return None
        return TrackCounts("".join(texts).encode("ascii"), list(map(len, texts)), frames)
    except (TypeError, KeyError, UnicodeEncodeError):
        return None


def counts_of(rles: Sequence[Rle]) -> list[bytes]:
    """The `counts` of compressed RLEs, which are text or bytes, as bytes."""
    return [rle["counts"].encode("ascii") if isinstance(rle["counts"], str) else rle["counts"] for rle in rles]


def decode_rles(rles: Sequence[Rle]) -> MaskEdges:
    """The masks of compressed RLEs, whose `counts` are text or bytes."""
    texts = counts_of(rles)
    pixels = np.array([rle["size"][0] * rle["size"][1] for rle in rles], np.int64)
    return decode_masks(b"".join(texts), [len(text) for text in texts], pixels)


def decode_masks(text: bytes, lengths: Sequence[int], pixels: np.ndarray) -> MaskEdges:
    """The masks of N compressed RLEs: their `counts` one after the other, the characters of each (N,), and the pixels
    of their frames (N,)."""
    count = len(lengths)
    edges = np.empty(len(text), np.int64)  # a number has one character or more
    starts, areas, state = np.zeros(count + 1, np.int64), np.zeros(count, np.int64), np.zeros(count, np.uint8)
    codes = np.frombuffer(text, np.uint8)
    worst = _decode(codes, np.array(lengths, np.int64), pixels, edges, starts, areas, state)
    return MaskEdges(edges, starts, areas, state, worst)


@compiled
def _decode(codes, lengths, pixels, edges, starts, areas, state):
    """Fills the arrays of `MaskEdges`; returns the largest state.

    A number is 5 bits per character, lowest first; bit 6 says that more follow, bit 5 of the last is the sign. Run k
    is number k, plus run k-2 from k = 3 on.
    """
    place, worst = 0, SOUND
    for i in range(len(lengths)):
        end = place + lengths[i]
        first = starts[i]
        edge, area, run, before = 0, 0, 0, 0
        k = 0
        good, code = True, place < end
        while place < end:
            value, shift, more = 0, 0, True
            while more and place < end:
                digit = np.int64(codes[place]) - 48
                place += 1
                code = code and 0 <= digit < 64
                if shift < 5 * _MOST_DIGITS:
                    value |= (digit & 31) << shift
                else:
                    good = False
                shift += 5
                more = digit & 32 != 0
                if not more and digit & 16:
                    value -= 1 << min(shift, 5 * _MOST_DIGITS)
            code = code and not more
            before, run = run, value + before if k > 2 else value
            good = good and run >= 0
            edge += run
            if k % 2:
                area += run
            edges[first + k] = edge
            k += 1
        starts[i + 1] = first + k
        areas[i] = area
        if not code:
            state[i] = NO_CODE
        elif not good or edge != pixels[i]:
            state[i] = WRONG_TOTAL
        worst = max(worst, state[i])
    return worst
