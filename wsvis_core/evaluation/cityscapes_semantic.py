"""Semantic IoU on Cityscapes from instances (docs/method.md §7.4), in the four readings of the paper's number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wsvis_core.evaluation.cityscapes_labels import (
    CATEGORIES,
    CLASS_IDS,
    CLASS_NAMES,
    VOID_IDS,
    image_pairs,
    label_ids,
)
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import decode_mask

CLASSES = len(CLASS_IDS)
STUFF, VOID = CLASSES, CLASSES + 1


def semantic_iou(
    id_maps: Iterable[np.ndarray], predictions: Iterable[EncodedInstances], *, score_threshold: float = 0.05
) -> dict[str, Any]:
    """IoU of the classes of pixels, 0..1, summed over all images; the variants of `iou_variants` and `images`.

    id_maps: images (H,W) of `instanceIds`, integer · predictions: the same images, class index 0..7. A pixel has the
    class of the highest-scoring instance with score ≥ score_threshold that covers it (the first of equals), else it is
    background. Read one image at a time. Raises WsvisError for an id map that does not fit its predictions.
    """
    confusion = np.zeros((CLASSES + 2, CLASSES + 1), np.int64)
    images = 0
    for ids, item in image_pairs(id_maps, predictions):
        confusion += confusion_matrix(true_classes(ids), predicted_classes(item, score_threshold))
        images += 1
    return iou_variants(confusion) | {"images": images}


def true_classes(ids: np.ndarray) -> np.ndarray:
    """Class index 0..7, STUFF or VOID of each pixel of an id map (H,W); a group belongs to its class. → int64."""
    labels = label_ids(ids)
    classes = np.full(ids.shape, STUFF, np.int64)
    classes[np.isin(labels, VOID_IDS)] = VOID
    for index, label in enumerate(CLASS_IDS):
        classes[labels == label] = index
    return classes


def predicted_classes(predictions: EncodedInstances, score_threshold: float) -> np.ndarray:
    """Class index of the highest-scoring instance on each pixel, STUFF where there is none. → int64 (H,W)."""
    classes = np.full(predictions.size, STUFF, np.int64)
    # Painted from the lowest score up, and of equals the first last, so that it stays on top.
    for n in np.argsort(-predictions.scores, kind="stable")[::-1]:
        if predictions.scores[n] >= np.float32(score_threshold):
            classes[decode_mask(predictions.rles[n])] = predictions.classes[n]
    return classes


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pixels by true class (rows 0..7, STUFF, VOID) and predicted class (columns 0..7, STUFF) → (10,9) int64."""
    size = (CLASSES + 2, CLASSES + 1)
    return np.bincount((truth * size[1] + predicted).ravel(), minlength=size[0] * size[1]).reshape(size)


def iou_variants(confusion: np.ndarray) -> dict[str, Any]:
    """The four readings from a confusion matrix (10,9); nan where a class has neither true nor predicted pixels.

    classes: mean over the 8 classes, what they take of stuff is wrong (always reported) · with_background: mean over
    them and background · stuff_ignored: the 8 classes on their own pixels only · categories: mean of human and
    vehicle, mix-ups inside a category are right · per_class, per_category: rows {name, IoU} of `classes` and
    `categories`. True VOID pixels count nowhere; means leave out nan.
    """
    counted = confusion[:VOID]
    singles = [_iou(counted, (k,)) for k in range(CLASSES)]
    background = _iou(counted, (STUFF,))
    things = [_iou(confusion[:STUFF], (k,)) for k in range(CLASSES)]
    groups = {name: _iou(counted, members) for name, members in CATEGORIES.items()}
    return {
        "classes": _mean(singles),
        "with_background": _mean([*singles, background]),
        "stuff_ignored": _mean(things),
        "categories": _mean(list(groups.values())),
        "per_class": [{"name": name, "IoU": value} for name, value in zip(CLASS_NAMES, singles, strict=True)],
        "per_category": [{"name": name, "IoU": value} for name, value in groups.items()],
    }


def _iou(confusion: np.ndarray, members: Sequence[int]) -> float:
    """TP / (TP + FP + FN) of a set of classes taken as one."""
    index = list(members)
    right = int(confusion[np.ix_(index, index)].sum())
    either = int(confusion[index].sum() + confusion[:, index].sum()) - right
    return right / either if either else float("nan")


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")
