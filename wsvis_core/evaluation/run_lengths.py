"""Pixels of compressed RLEs, and whether their runs really fill their frame, for many RLEs at once.

A run-length total that is not height×width makes the RLE operations of pycocotools loop without end, so it is
checked before any of them sees the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsvis_core.storage.rle import Rle

_CHUNK_CHARACTERS = 1 << 17  # arrays that stay in cache: 3 to 4 ns per character, 1 core
_MOST_DIGITS = 6  # 30 bits: more than any run of a frame needs
_TOO_LONG = -(1 << 30)  # stands for a number with more digits; no frame has as many pixels


@dataclass(frozen=True)
class RunTotals:
    """Of N RLEs, each (N,) int64: pixels in and out of the mask (all runs), pixels in it, and the shortest run or 0."""

    totals: np.ndarray
    areas: np.ndarray
    shortest: np.ndarray

    def wrong(self, pixels: np.ndarray) -> np.ndarray:
        """Positions of the RLEs with a negative run, or whose runs do not sum to `pixels` (N,) → int64, ascending."""
        return np.flatnonzero((self.totals != pixels) | (self.shortest < 0))


def wrong_totals(rles: Sequence[Rle]) -> list[int]:
    """Positions of the RLEs with a negative run, or whose runs do not sum to height×width, ascending.

    The RLEs have `size` and non-empty compressed `counts` (text or bytes of the right alphabet).
    """
    texts = [rle["counts"].encode("ascii") if isinstance(rle["counts"], str) else rle["counts"] for rle in rles]
    pixels = np.array([rle["size"][0] * rle["size"][1] for rle in rles], np.int64)
    return run_totals(texts).wrong(pixels).tolist()


def run_totals(texts: Sequence[bytes]) -> RunTotals:
    """Sums of the runs of compressed RLEs: N non-empty `counts` of the right alphabet, each ending with a number."""
    parts = [np.zeros((3, 0), np.int64)]
    parts += [_totals(texts[first:last]) for first, last in _chunks([len(text) for text in texts])]
    return RunTotals(*np.concatenate(parts, axis=1))


def _chunks(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Ranges of consecutive texts with about `_CHUNK_CHARACTERS` in all, so that memory stays bounded."""
    ends = np.cumsum(lengths) // _CHUNK_CHARACTERS
    cuts = [0, *(np.flatnonzero(np.diff(ends)) + 1).tolist(), len(lengths)]
    return [(a, b) for a, b in zip(cuts[:-1], cuts[1:], strict=True) if b > a]


def _totals(texts: Sequence[bytes]) -> np.ndarray:
    """(3,N) int64: totals, areas and shortest runs, as in RunTotals.

    Run k of a text is its number k, plus run k-2 from k = 3 on. So the running sum of every second number of all
    texts together holds the runs, less what the sum was where the text's chain begins: at number 1 for the odd runs
    (the pixels of the mask), at number 2 for the even ones; run 0 is number 0.
    """
    values, starts = _numbers(texts)
    sums = [np.cumsum(values[parity::2], dtype=np.int64) for parity in (0, 1)]
    ends = np.append(starts[1:], len(values))
    first = values[starts].astype(np.int64)
    inside, shortest_inside = _chains(sums, starts + 1, ends, _at(sums, starts - 1))
    outside, shortest_outside = _chains(sums, starts, ends, _at(sums, starts))
    shortest = np.minimum(np.minimum(shortest_inside, shortest_outside), first)
    return np.stack([first + outside + inside, inside, shortest])


def _at(sums: Sequence[np.ndarray], places: np.ndarray) -> np.ndarray:
    """The running sum of a number's parity at the numbers `places`, 0 before the first number."""
    even = sums[0][np.clip(places // 2, 0, None)]
    odd = sums[1][np.clip(places // 2, 0, None).clip(max=len(sums[1]) - 1)] if len(sums[1]) else even
    return np.where(places < 0, 0, np.where(places % 2 == 0, even, odd))


def _chains(
    sums: Sequence[np.ndarray], starts: np.ndarray, ends: np.ndarray, bases: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum and smallest of `sums` - base over the numbers start, start + 2, … before end; 0 where there is none."""
    total, smallest = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    for parity, line in enumerate(sums):
        mine = np.flatnonzero((starts % 2 == parity) & (starts < ends))
        if not len(mine):
            continue
        first, last = starts[mine] // 2, (ends[mine] - starts[mine] + 1) // 2 + starts[mine] // 2
        # Pairs of (first, last): every second piece is wanted; a last one at the array's end needs no bound.
        bounds = np.stack([first, last], axis=1).ravel()
        bounds = bounds[:-1] if bounds[-1] == len(line) else bounds
        total[mine] = np.add.reduceat(line, bounds)[::2] - bases[mine] * (last - first)
        smallest[mine] = np.minimum.reduceat(line, bounds)[::2] - bases[mine]
    return total, smallest


def _numbers(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The written numbers of all texts in order, int32, and where each text's begin.

    A number is 5 bits per character, lowest first; bit 6 says that more follow, bit 5 of the last is the sign.
    """
    codes = np.frombuffer(b"".join(texts), np.uint8) - np.uint8(48)
    more = codes >= 0x20
    digits = codes & np.uint8(0x1F)
    # What a number's last character makes of its last two digits; those of three digits and more are few.
    pairs = ((digits ^ np.uint8(0x10)).view(np.int8) - np.int8(0x10)).astype(np.int16)
    pairs[1:] *= more[:-1] * np.int16(31) + np.int16(1)
    pairs[1:] += digits[:-1] * more[:-1]
    values = pairs[~more].astype(np.int32)
    others = np.flatnonzero(more)
    begins = np.cumsum([0, *(len(text) for text in texts[:-1])])
    _add_digits(values, others, digits, more)
    return values, begins - np.searchsorted(others, begins)


def _add_digits(values: np.ndarray, others: np.ndarray, digits: np.ndarray, more: np.ndarray) -> None:
    """The third last digit and those before it into `values`; `others`: the characters after which more follow."""
    place = np.flatnonzero(more[:-2] & more[1:-1] & ~more[2:])
    number = place - np.searchsorted(others, place)
    for _ in range(2, _MOST_DIGITS):
        values[number] = (values[number] << 5) + digits[place]
        longer = np.flatnonzero((place > 0) & more[place - 1])
        place, number = place[longer] - 1, number[longer]
        if not len(place):
            break
    values[number] = _TOO_LONG
