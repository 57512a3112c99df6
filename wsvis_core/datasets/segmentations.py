"""Checks segmentations from an annotation file before any C code sees them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wsvis_core.storage.rle import Rle, to_compressed_rle

# A polygon may stick out of its frame by this many frame sizes at most: its outline is walked pixel by pixel.
MAX_OUTSIDE = 10


def checked_rle(segmentation: Any, height: int, width: int) -> Rle | None:
    """Compressed RLE of a polygon list or an RLE of any kind; None when it covers no pixel.

    Raises ValueError with the reason for anything that is not a valid mask of height x width.
    """
    if isinstance(segmentation, list):
        if not segmentation:
            return None
        for polygon in segmentation:
            _check_polygon(polygon, height, width)
        rle = to_compressed_rle(segmentation, height, width)
        return rle if run_lengths(rle["counts"])[1::2].any() else None
    if not isinstance(segmentation, dict) or "counts" not in segmentation or "size" not in segmentation:
        raise ValueError("neither a polygon list nor an RLE with 'size' and 'counts'")
    if segmentation["size"] != [height, width]:
        raise ValueError(f"RLE size {segmentation['size']}, expected [{height}, {width}] (height, width)")
    counts = _counts_array(segmentation["counts"])
    if counts.min(initial=0) < 0 or counts.sum() != height * width:
        raise ValueError(f"RLE counts sum to {int(counts.sum())}, expected {height} x {width} = {height * width}")
    if not counts[1::2].any():
        return None
    return to_compressed_rle({"size": [height, width], "counts": counts.tolist()}, height, width)


def _check_polygon(polygon: Any, height: int, width: int) -> None:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError("a polygon must be a list of at least 3 x, y pairs")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in polygon):
        raise ValueError("a polygon holds something that is not a number")
    if not all(math.isfinite(value) for value in polygon):
        raise ValueError("a polygon holds NaN or infinity; remove the polygon, or write its coordinates")
    limit = MAX_OUTSIDE * max(height, width)
    if not all(abs(value) <= limit for value in polygon):
        raise ValueError(f"a polygon lies far outside of the {width}x{height} frame")


def _counts_array(counts: Any) -> np.ndarray:
    """int64 run lengths of compressed (str) or uncompressed (list of int, integer array) counts."""
    if isinstance(counts, str):
        return run_lengths(counts)
    if isinstance(counts, np.ndarray):
        return counts.astype(np.int64)
    if not isinstance(counts, list) or not all(type(value) is int for value in counts):
        raise ValueError("RLE counts are neither text nor a list of integers")
    if max(map(abs, counts), default=0) > 2**31:
        raise ValueError("RLE counts hold a number above 2^31")
    return np.asarray(counts, dtype=np.int64)


def run_lengths(text: str) -> np.ndarray:
    """int64 run lengths of COCO's compressed text: 5 bits per character (from '0'), bit 6 = more follows, the fourth
    and later values relative to the value two before. Raises ValueError for text that is no such code."""
    values: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            raise ValueError("RLE counts are not valid compressed text")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            values.append(value + values[-2] if len(values) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("RLE counts end in the middle of a number")
    return np.asarray(values, dtype=np.int64)


def compact_counts(entry: dict[str, Any]) -> dict[str, Any]:
    """JSON object hook: turns the long ``counts`` list of an uncompressed RLE into an int32 array at once.

    The full YouTube-VIS file holds tens of millions of run lengths; as Python integers they need gigabytes.
    Anything that is not a plain list of integers is left for the checks to report.
    """
    counts = entry.get("counts")
    if isinstance(counts, list) and all(type(value) is int and abs(value) < 2**31 for value in counts):
        entry["counts"] = np.asarray(counts, dtype=np.int32)
    return entry
