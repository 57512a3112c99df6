"""Masks as COCO run-length encodings with text counts (what YouTube-VIS files hold)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

Rle = dict[str, Any]


def encode_mask(mask: np.ndarray) -> Rle:
    """Compressed RLE `{"size": [h, w], "counts": str}` of a mask (H,W) bool."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(v) for v in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_mask(rle: Rle) -> np.ndarray:
    """Mask (H,W) bool of a compressed RLE."""
    return coco_mask.decode(rle).astype(bool)


def to_compressed_rle(segmentation: Any, height: int, width: int) -> Rle:
    """Compressed RLE of a polygon list, an uncompressed RLE (list counts) or a compressed one (str or bytes).

    Raises ValueError for anything else (an empty polygon list too), for an RLE whose size is not height×width, and for
    uncompressed runs that do not sum to height×width.
    """
    if isinstance(segmentation, list):
        _check_polygons(segmentation)
        parts = coco_mask.frPyObjects(segmentation, height, width)
        encoded = coco_mask.merge(parts)
    elif isinstance(segmentation, dict) and "counts" in segmentation and "size" in segmentation:
        size = segmentation["size"]
        if not isinstance(size, list | tuple) or list(size) != [height, width]:
            raise ValueError(f"RLE size {size} is not [{height}, {width}]")
        encoded = _compress(segmentation, height, width)
    else:
        raise ValueError(f"a {type(segmentation).__name__} is neither a polygon list nor an RLE")
    counts = encoded["counts"]
    return {
        "size": [height, width],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }


def _check_polygons(polygons: list[Any]) -> None:
    if not polygons:
        raise ValueError("an empty polygon list is no mask")
    for polygon in polygons:
        if not isinstance(polygon, list | tuple):
            raise ValueError(f"a polygon must be a list of x, y pairs, not {type(polygon).__name__}")
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon needs at least 3 x, y pairs, got {len(polygon)} numbers")


def _compress(segmentation: Rle, height: int, width: int) -> Rle:
    counts = segmentation["counts"]
    if isinstance(counts, str | bytes):
        return segmentation
    if not isinstance(counts, list):
        raise ValueError(f"RLE counts are a {type(counts).__name__}, expected text or a list of run lengths")
    if min(counts, default=0) < 0:
        raise ValueError(f"RLE counts hold a negative run, {min(counts)}")
    if sum(counts) != height * width:
        raise ValueError(f"RLE counts sum to {sum(counts)}, not to {height}×{width} = {height * width}")
    return coco_mask.frPyObjects(segmentation, height, width)
