"""Average precision of single images by the COCO protocol (mask IoU, all areas, 100 detections), via pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.overlap import rle_areas

RIGHT, WRONG, IGNORED = 1, 0, -1


@dataclass(frozen=True)
class TrueInstances:
    """Ground truth of one image: N masks, category ids (N,), crowd (N,) bool."""

    rles: Sequence[Rle]
    category_ids: Sequence[int]
    crowd: Sequence[bool]


@dataclass(frozen=True)
class CocoResult:
    """What the protocol finds over I images and K categories, categories in the order of the given ids.

    precision (10,101,K) at IoU .50:.05:.95 and recall 0:.01:1 · recall (10,K) largest reached; both −1 without ground
    truth · verdicts I arrays int8 (N,), for the N predictions of an image at IoU 0.5: RIGHT, WRONG, or IGNORED where
    one lies on a crowd. Predictions after the 100 best of an image and class count as wrong.
    """

    precision: np.ndarray
    recall: np.ndarray
    verdicts: tuple[np.ndarray, ...]


def average_precision(
    truth: Sequence[TrueInstances],
    predictions: Sequence[EncodedInstances],
    category_ids: Sequence[int],
    category_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """AP50, AP75, mAP (IoU .50:.05:.95), AR100, per category and in the mean, each 0..1; −1 without ground truth.

    truth and predictions: one entry per image, in the same order; empty entries are legal, and images without
    objects count · category_ids[c] is the id of the predictions' class index c. Equal scores are ranked in image
    order, then in prediction order. `per_category` is a list in the order of `category_ids`.
    """
    names = category_names or [str(c) for c in category_ids]
    return summarize(score_images(truth, predictions, category_ids), category_ids, names)


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


def score_images(
    truth: Sequence[TrueInstances], predictions: Sequence[EncodedInstances], category_ids: Sequence[int]
) -> CocoResult:
    """Precision, recall and the verdict on every prediction; see `average_precision` for the arguments."""
    images = [{"id": n, "height": item.size[0], "width": item.size[1]} for n, item in enumerate(predictions, 1)]
    categories = [{"id": int(c), "name": str(c)} for c in category_ids]
    objects = [_true_annotations(n, item) for n, item in enumerate(truth, 1)]
    found = [_found_annotations(n, item, category_ids) for n, item in enumerate(predictions, 1)]
    if not images:
        unknown = np.full((10, 101, len(categories)), -1.0)
        return CocoResult(unknown, unknown[:, 0], ())
    evaluation = _evaluate(_dataset(images, categories, objects), _dataset(images, categories, found))
    # COCOeval sorts the categories by id.
    position = {c: k for k, c in enumerate(sorted(int(c) for c in category_ids))}
    order = [position[int(c)] for c in category_ids]
    return CocoResult(
        evaluation.eval["precision"][:, :, order, 0, 0],
        evaluation.eval["recall"][:, order, 0, 0],
        _verdicts(evaluation, [len(rows) for rows in found]),
    )


def _true_annotations(image: int, item: TrueInstances) -> list[dict[str, Any]]:
    rows = zip(item.rles, item.category_ids, item.crowd, rle_areas(item.rles), strict=True)
    return [
        {
            "image_id": image,
            "category_id": int(category),
            "segmentation": rle,
            "area": float(area),
            "iscrowd": int(crowd),
        }
        for rle, category, crowd, area in rows
    ]


def _found_annotations(image: int, item: EncodedInstances, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    rows = zip(item.rles, item.classes, item.scores, rle_areas(item.rles), strict=True)
    return [
        {
            "image_id": image,
            "category_id": int(category_ids[int(index)]),
            "segmentation": rle,
            "area": float(area),
            "score": float(score),
            "iscrowd": 0,
        }
        for rle, index, score, area in rows
    ]


def _dataset(images: list, categories: list, annotations: list[list[dict[str, Any]]]) -> COCO:
    """A COCO object in memory. Ids begin at 1: pycocotools takes 0 for "not matched"."""
    numbered = [{"id": n, **row} for n, row in enumerate((row for rows in annotations for row in rows), 1)]
    coco = COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": numbered}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _evaluate(truth: COCO, found: COCO) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, found, "segm")
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _verdicts(evaluation: COCOeval, counts: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Verdicts at the first IoU threshold, image by image; annotation ids count the predictions from 1."""
    verdicts = np.full(sum(counts) + 1, WRONG, np.int8)
    for part in evaluation.evalImgs:
        if part is not None and len(part["dtIds"]):
            matched = np.where(part["dtMatches"][0] > 0, RIGHT, WRONG)
            verdicts[part["dtIds"]] = np.where(part["dtIgnore"][0], IGNORED, matched)
    return tuple(np.split(verdicts[1:], np.cumsum(counts)[:-1]))


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
