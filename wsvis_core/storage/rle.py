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

    Raises ValueError for anything else, and for an RLE whose size is not height×width.
    """
    if isinstance(segmentation, list):
        parts = coco_mask.frPyObjects(segmentation, height, width)
        encoded = coco_mask.merge(parts)
    elif isinstance(segmentation, dict) and "counts" in segmentation and "size" in segmentation:
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"RLE size {list(segmentation['size'])} is not [{height}, {width}]")
        encoded = _compress(segmentation, height, width)
    else:
        raise ValueError(f"a {type(segmentation).__name__} is neither a polygon list nor an RLE")
    counts = encoded["counts"]
    return {
        "size": [height, width],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }


def _compress(segmentation: Rle, height: int, width: int) -> Rle:
    counts = segmentation["counts"]
    if not isinstance(counts, list):
        return segmentation
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise ValueError(f"RLE counts sum to {sum(counts)}, not to {height}×{width} = {height * width}")
    return coco_mask.frPyObjects(segmentation, height, width)
