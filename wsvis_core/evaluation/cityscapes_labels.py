"""What Cityscapes' ids mean: instance classes, groups, void; id maps are those of `*_gtFine_instanceIds.png`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.storage.instance_shards import EncodedInstances

# Class index 0..7 → label id (docs/method.md §8.2).
CLASS_IDS = (24, 25, 26, 27, 28, 31, 32, 33)
CLASS_NAMES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
CATEGORIES = {"human": (0, 1), "vehicle": (2, 3, 4, 5, 6, 7)}
# Labels that no evaluation counts; -1 is the licence plate.
VOID_IDS = (-1, 0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
# From this id on, id = 1000 · label id + number of the instance; below, it is a label id: stuff, void or a group.
FIRST_INSTANCE_ID = 1000


def label_ids(ids: np.ndarray) -> np.ndarray:
    """Label id of each entry of an id map or a list of its ids, same shape."""
    return np.where(ids >= FIRST_INSTANCE_ID, ids // FIRST_INSTANCE_ID, ids)


def image_pairs(
    id_maps: Iterable[np.ndarray], predictions: Iterable[EncodedInstances]
) -> Iterator[tuple[np.ndarray, EncodedInstances]]:
    """Id map (H,W) and predictions of image after image, checked; WsvisError names the image, counted from 1."""
    for number, (ids, item) in enumerate(zip(id_maps, predictions, strict=True), 1):
        problem = _problem(ids, item)
        if problem:
            raise WsvisError(f"image {number}: {problem}")
        yield ids, item


def _problem(ids: np.ndarray, item: EncodedInstances) -> str | None:
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        return (
            f"the id map must hold whole numbers (H,W), not {ids.dtype} {ids.shape}; "
            "read *_gtFine_instanceIds.png without converting it"
        )
    if ids.shape != tuple(item.size):
        return f"the id map is {ids.shape}, the predicted masks are {tuple(item.size)}"
    if len(item) and not (0 <= item.classes.min() and item.classes.max() < len(CLASS_IDS)):
        return f"class indices must be 0..{len(CLASS_IDS) - 1}, found {sorted(set(item.classes.tolist()))}"
    if not np.isfinite(item.scores).all():
        return "a score is not finite"
    return None
