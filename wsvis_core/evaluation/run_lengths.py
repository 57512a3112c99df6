"""The runs of compressed RLEs, for many RLEs at once: whether they fill their frame, and the pixels of the mask.

A run-length total that is not height×width makes the RLE operations of pycocotools loop without end, so it is
checked before any of them sees the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.results import COUNTS_ALPHABET

_CHUNK_CHARACTERS = 1 << 18  # arrays that stay in cache
_MOST_DIGITS = 6  # 30 bits: more than any run of a frame needs
_TOO_LONG = -(1 << 30)  # stands for a number with more digits; no frame has as many pixels


@dataclass(frozen=True)
class MaskRuns:
    """The runs of N RLEs, outside and inside of the mask in turn; the first is outside.

    runs (K,) int32, all one after the other · starts (N+1,) int64: RLE i has runs[starts[i]:starts[i + 1]] ·
    areas (N,) int64: pixels in the mask.
    """

    runs: np.ndarray
    starts: np.ndarray
    areas: np.ndarray

    def wrong(self, pixels: np.ndarray) -> np.ndarray:
        """Positions of the RLEs with a negative run, or whose runs do not sum to `pixels` (N,) → int64, ascending."""
        if not len(self.areas):
            return np.zeros(0, np.int64)
        totals = np.add.reduceat(self.runs, self.starts[:-1], dtype=np.int64)
        return np.flatnonzero((totals != pixels) | (np.minimum.reduceat(self.runs, self.starts[:-1]) < 0))

    def spans(self, which: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray]:
        """First pixel of the RLEs `which` (n,), and the one after their last, each (n,) int64; frames of `pixels`.

        The span is too wide where an RLE has an empty run at the beginning or end of its mask.
        """
        first, last = self.starts[which], self.starts[which + 1] - 1
        outside_at_end = (last - first) % 2 == 0
        return self.runs[first], pixels - np.where(outside_at_end, self.runs[last], 0)


@dataclass(frozen=True)
class TrackCounts:
    """A track's compressed counts one after the other, the length of each, and the frames they are in."""

    text: bytes
    lengths: list[int]
    frames: list[int]


def track_counts(masks: Sequence[Rle | None]) -> TrackCounts:
    """The counts of compressed RLEs of the right form."""
    texts = counts_of([mask for mask in masks if mask is not None])
    frames = [frame for frame, mask in enumerate(masks) if mask is not None]
    return TrackCounts(b"".join(texts), [len(text) for text in texts], frames)


def plain_counts(masks: Sequence[Any], height: int, width: int) -> TrackCounts | None:
    """The same of masks that are all None or compressed RLEs of height×width with text counts; None of any others."""
    try:
        present = [mask for mask in masks if mask is not None]
        sizes = [mask["size"] for mask in present]
        if sizes.count([height, width]) != len(sizes):
            return None
        texts = [mask["counts"] for mask in present]
        text, lengths = "".join(texts).encode("ascii"), [len(one) for one in texts]
    except (TypeError, KeyError, UnicodeEncodeError):
        return None
    # A text ends with a number: its last character says that no more follow.
    ended = all(one and one[-1] < "P" for one in texts)
    if not ended or text.translate(None, COUNTS_ALPHABET):
        return None
    return TrackCounts(text, lengths, [frame for frame, mask in enumerate(masks) if mask is not None])


def wrong_totals(rles: Sequence[Rle]) -> list[int]:
    """Positions of the RLEs with a negative run, or whose runs do not sum to height×width, ascending.

    The RLEs have `size` and non-empty compressed `counts` (text or bytes of the right alphabet).
    """
    texts = counts_of(rles)
    pixels = np.array([rle["size"][0] * rle["size"][1] for rle in rles], np.int64)
    return decode_runs(b"".join(texts), [len(text) for text in texts]).wrong(pixels).tolist()


def counts_of(rles: Sequence[Rle]) -> list[bytes]:
    """The `counts` of compressed RLEs, which are text or bytes, as bytes."""
    return [rle["counts"].encode("ascii") if isinstance(rle["counts"], str) else rle["counts"] for rle in rles]


def decode_runs(text: bytes, lengths: Sequence[int]) -> MaskRuns:
    """The runs of N compressed RLEs: their `counts` one after the other, and how many characters each has (N,).

    Each has characters of the right alphabet, at least one, and ends with a number.
    """
    ends = np.cumsum(np.asarray(lengths, np.int64))
    cuts = [0, *(np.flatnonzero(np.diff(ends // _CHUNK_CHARACTERS)) + 1).tolist(), len(ends)]
    codes, bounds = np.frombuffer(text, np.uint8), np.concatenate([[0], ends])
    parts = [
        _decode(codes[bounds[a] : bounds[b]], bounds[a:b] - bounds[a])
        for a, b in zip(cuts[:-1], cuts[1:], strict=True)
        if b > a
    ]
    if len(parts) == 1:  # joining would copy what is by far the most
        [(runs, counts, areas)] = parts
    else:
        runs, counts, areas = (np.concatenate([np.zeros(0, np.int32), *(p[k] for p in parts)]) for k in range(3))
    return MaskRuns(runs, np.concatenate([[0], np.cumsum(counts)]), areas)


def _decode(codes: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs (K,) int32, number of runs (N,) and area (N,), int64, of the RLEs whose characters begin at `begins` (N,).

    Run k of an RLE is its number k, plus run k-2 from k = 3 on. So the running sum of every second number of all RLEs
    together holds the runs, once what it was before is taken off where an RLE's chain of runs begins: at number 0, at
    number 1, and, since run 2 is number 2, there again. A run of 2^31 and more shows as a negative one,
    if not itself then one before it, for numbers are below 2^30.
    """
    values, starts = _numbers(codes, begins)
    counts = np.diff(starts, append=len(values))
    second, third = starts[counts > 1] + 1, starts[counts > 2] + 2
    first_values = values[third - 2]
    lines = values[0::2], values[1::2]
    for parity, line in enumerate(lines):
        # What each chain comes to is taken off where the next begins.
        mine = third % 2 == parity
        line[third[mine] // 2] -= first_values[mine]
        heads = np.sort(np.concatenate([place[place % 2 == parity] for place in (starts, second)])) // 2
        line[heads[1:]] -= np.add.reduceat(line, heads)[:-1] if len(heads) else 0
    runs = np.empty_like(values)
    np.cumsum(lines[0], dtype=np.int32, out=runs[0::2])
    np.cumsum(lines[1], dtype=np.int32, out=runs[1::2])
    return runs, counts, _inside(runs, starts)


def _inside(runs: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum of every second run from each start + 1 to the next start → (N,) int64."""
    ends = np.append(starts[1:], len(runs))
    sums = []
    for parity in (0, 1):
        line = np.append(runs[parity::2], 0)  # one more, for a piece that begins at the end
        first, last = (starts + 1 - parity) // 2, (ends + 1 - parity) // 2
        sums.append(np.where(last > first, np.add.reduceat(line, first, dtype=np.int64), 0))
    return np.where(starts % 2 == 0, sums[1], sums[0])


def _numbers(codes: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The written numbers in order, int32, and where those of each RLE begin.

    A number is 5 bits per character, lowest first; bit 6 says that more follow, bit 5 of the last is the sign.
    """
    codes = codes - np.uint8(48)
    more = codes >= 0x20
    digits = codes & np.uint8(0x1F)
    # What a number's last character makes of its last two digits; those of three digits and more are few.
    pairs = ((digits ^ np.uint8(0x10)).view(np.int8) - np.int8(0x10)).astype(np.int16)
    pairs[1:] *= more[:-1] * np.int16(31) + np.int16(1)
    pairs[1:] += digits[:-1] * more[:-1]
    values = pairs[~more].astype(np.int32)
    others = np.flatnonzero(more)
    _add_digits(values, others, digits)
    return values, begins - np.searchsorted(others, begins)


def _add_digits(values: np.ndarray, others: np.ndarray, digits: np.ndarray) -> None:
    """The third last digit and those before it into `values`; `others`: the characters after which more follow."""
    number = others - np.arange(len(others))
    same = number[1:] == number[:-1]
    # The third last digits: the next one is of the same number, and the one after that is not.
    place = np.flatnonzero(same & ~np.append(same[1:], False)) if len(same) else same.astype(np.int64)
    for _ in range(2, _MOST_DIGITS):
        if not len(place):
            return
        values[number[place]] = (values[number[place]] << 5) + digits[others[place]]
        place = place[(place > 0) & (number[place - 1] == number[place])] - 1
    values[number[place]] = _TOO_LONG
