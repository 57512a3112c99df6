"""Average precision of single images by the COCO protocol (mask IoU, all areas, 100 detections), image by image.

Equal to pycocotools' COCOeval, which keeps a record of every image and category and so needs 1 MB for a video of 27
frames and 40 categories; here a frame leaves a few bytes per prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from wsvis_core.evaluation.matching import IOU_THRESHOLDS, RECALL_POINTS, Matches, match, precision_recall
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import Rle

RIGHT, WRONG, IGNORED = 1, 0, -1
_SURPLUS = -2
MAX_DETECTIONS = 100


@dataclass(frozen=True)
class TrueInstances:
    """Ground truth of one image: N masks, category ids (N,), crowd (N,) bool."""

    rles: Sequence[Rle]
    category_ids: Sequence[int]
    crowd: Sequence[bool]


@dataclass(frozen=True)
class ImageScore:
    """One image's N predictions held against its objects.

    classes (N,) and scores (N,): the predictions' own · outcomes (T,N) int8 at IoU .50:.05:.95: RIGHT, WRONG, IGNORED
    where one lies on a crowd, or less for those after the 100 best of an image and class · objects: class index → how
    many objects count.
    """

    classes: np.ndarray
    scores: np.ndarray
    outcomes: np.ndarray
    objects: Mapping[int, int]

    @property
    def verdicts(self) -> np.ndarray:
        """(N,) int8 at IoU 0.5: RIGHT, WRONG or IGNORED; those after the 100 best count as wrong."""
        return np.where(self.outcomes[0] == _SURPLUS, WRONG, self.outcomes[0])


@dataclass(frozen=True)
class CocoResult:
    """What the protocol finds over all images and K categories, in the order of the class indices.

    precision (10,101,K) at IoU .50:.05:.95 and recall 0:.01:1 · recall (10,K) largest reached; both −1 without ground
    truth.
    """

    precision: np.ndarray
    recall: np.ndarray


def average_precision(
    truth: Iterable[TrueInstances],
    predictions: Iterable[EncodedInstances],
    category_ids: Sequence[int],
    category_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """AP50, AP75, mAP (IoU .50:.05:.95), AR100, per category and in the mean, each 0..1; −1 without ground truth.

    truth and predictions: one entry per image, in the same order; empty entries are legal, and images without
    objects count · category_ids[c] is the id of the predictions' class index c. Equal scores are ranked in image
    order, then in prediction order. `per_category` is a list in the order of `category_ids`.
    """
    scores = [score_image(t, p, category_ids) for t, p in zip(truth, predictions, strict=True)]
    names = category_names or [str(c) for c in category_ids]
    return summarize(combine(scores, len(category_ids)), category_ids, names)


def score_image(truth: TrueInstances, predictions: EncodedInstances, category_ids: Sequence[int]) -> ImageScore:
    """The outcome of every prediction of an image; objects of other categories than `category_ids` are left out."""
    outcomes = np.full((len(IOU_THRESHOLDS), len(predictions)), _SURPLUS, np.int8)
    ids, crowd = np.asarray(truth.category_ids, np.int64), np.asarray(truth.crowd, bool)
    counts: dict[int, int] = {}
    for k, category in enumerate(category_ids):
        objects, found = np.flatnonzero(ids == int(category)), np.flatnonzero(predictions.classes == k)
        if not (len(objects) or len(found)):
            continue
        ious = _ious([predictions.rles[n] for n in found], [truth.rles[g] for g in objects], crowd[objects])
        outcomes[:, found] = _outcomes(ious, predictions.scores[found], crowd[objects])
        counts[k] = int((~crowd[objects]).sum())
    return ImageScore(predictions.classes, predictions.scores, outcomes, counts)


def _ious(found: Sequence[Rle], objects: Sequence[Rle], crowd: np.ndarray) -> np.ndarray:
    """(D,G) float64: |A∩B| / |A∪B|, or / |A| where B is a crowd."""
    if not found or not objects:
        return np.zeros((len(found), len(objects)))
    return np.asarray(coco_mask.iou(found, objects, crowd.astype(int).tolist()), np.float64)


def _outcomes(ious: np.ndarray, scores: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """(T,D) int8 of the D predictions of one class, in the given order."""
    whole = np.zeros((1, len(scores)), bool)  # one range of areas, which holds all
    matches = match(
        ious,
        scores,
        crowd=crowd,
        outside=np.zeros((1, len(crowd)), bool),
        detection_outside=whole,
        max_detections=MAX_DETECTIONS,
    )
    ranked = np.where(matches.ignored[0], IGNORED, np.where(matches.matched[0], RIGHT, WRONG))
    outcomes = np.full((len(IOU_THRESHOLDS), len(scores)), _SURPLUS, np.int8)
    outcomes[:, np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]] = ranked
    return outcomes


def combine(images: Sequence[ImageScore], classes: int) -> CocoResult:
    """Precision and recall of `classes` classes over images, of which the order decides between equal scores."""
    none = ImageScore(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((len(IOU_THRESHOLDS), 0), np.int8), {})
    parts = [none, *images]
    owners = np.concatenate([part.classes for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    outcomes = np.concatenate([part.outcomes for part in parts], axis=1)
    precision = np.full((len(IOU_THRESHOLDS), len(RECALL_POINTS), classes), -1.0)
    recall = np.full((len(IOU_THRESHOLDS), classes), -1.0)
    for k in range(classes):
        own = np.flatnonzero((owners == k) & (outcomes[0] != _SURPLUS))
        right, ignored = (outcomes[None, :, own] == value for value in (RIGHT, IGNORED))
        positives = sum(image.objects.get(k, 0) for image in images)
        curve = precision_recall([Matches(scores[own], right, ignored, np.array([positives]))], 0)
        if curve is not None:
            precision[..., k], recall[:, k] = curve
    return CocoResult(precision, recall)


def summarize(result: CocoResult, category_ids: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """The dict of `average_precision` from a result."""
    return _averages(result.precision, result.recall) | {
        "per_category": [
            {
                "category_id": int(category),
                "name": name,
                **_averages(result.precision[..., k], result.recall[..., k]),
            }
            for k, (category, name) in enumerate(zip(category_ids, names, strict=True))
        ]
    }


def _averages(precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
    return {
        "mAP": _mean(precision),
        "AP50": _mean(precision[0]),
        "AP75": _mean(precision[5]),
        "AR100": _mean(recall),
    }


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if len(known) else -1.0
