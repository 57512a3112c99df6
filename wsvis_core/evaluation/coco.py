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


@dataclass(frozen=True)
class TrueInstances:
    """Ground truth of one image: N masks, category ids (N,), crowd (N,) bool."""

    rles: Sequence[Rle]
    category_ids: Sequence[int]
    crowd: Sequence[bool]


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
    sizes = [item.size for item in predictions]
    images = [{"id": n, "height": h, "width": w} for n, (h, w) in enumerate(sizes, 1)]
    categories = [{"id": int(c), "name": name} for c, name in zip(category_ids, names, strict=True)]
    objects = [_true_annotations(n, item) for n, item in enumerate(truth, 1)]
    found = [_found_annotations(n, item, category_ids) for n, item in enumerate(predictions, 1)]
    precision, recall = _evaluate(_dataset(images, categories, objects), _dataset(images, categories, found))
    # COCOeval sorts the categories by id.
    position = {c: k for k, c in enumerate(sorted(int(c) for c in category_ids))}
    return _averages(precision, recall) | {
        "per_category": [
            {
                "category_id": entry["id"],
                "name": entry["name"],
                **_averages(precision[..., k : k + 1], recall[..., k : k + 1]),
            }
            for entry in categories
            for k in [position[entry["id"]]]
        ]
    }


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


def _evaluate(truth: COCO, found: COCO) -> tuple[np.ndarray, np.ndarray]:
    """Precision (T,R,K) and largest recall (T,K) over 10 IoU thresholds, 101 recalls, K categories; −1 unknown."""
    if not truth.dataset["images"]:
        categories = len(truth.dataset["categories"])
        return np.full((10, 101, categories), -1.0), np.full((10, categories), -1.0)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, found, "segm")
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., 0, 0], evaluation.eval["recall"][..., 0, 0]


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
