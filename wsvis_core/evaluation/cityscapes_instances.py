"""Instance AP on Cityscapes (docs/method.md §7.3): the official one, and COCO's with groups as crowds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsvis_core.evaluation.cityscapes_labels import (
    CLASS_IDS,
    CLASS_NAMES,
    FIRST_INSTANCE_ID,
    VOID_IDS,
    image_pairs,
    label_ids,
)
from wsvis_core.evaluation.coco import TrueInstances, average_precision
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import decode_mask, encode_mask

THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))


@dataclass(frozen=True)
class ImageOverlaps:
    """Pixels that N predictions share with the S different ids of one image.

    ids, id_areas (S,) · classes (N,) class index · scores, areas (N,) · shared (N,S) pixels. Empty masks are left out.
    """

    ids: np.ndarray
    id_areas: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    areas: np.ndarray
    shared: np.ndarray


@dataclass(frozen=True)
class RankedDetections:
    """What counts for one class at one threshold: scores (M,), correct (M,) bool, number of missed objects."""

    scores: np.ndarray
    correct: np.ndarray
    missed: int


def official_instance_ap(
    id_maps: Iterable[np.ndarray],
    predictions: Iterable[EncodedInstances],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    min_area: int = 100,
) -> dict[str, Any]:
    """AP as Cityscapes' own evaluation defines it, 0..1; headline of Table 2 is AP50.

    id_maps: images (H,W) of `instanceIds`, integer · predictions: the same images, class index 0..7 of CLASS_IDS ·
    thresholds: IoU a match must exceed, 0.5 or more (below, a mask could match two objects) · min_area: objects of
    fewer pixels are neither found nor missed. Read one image at a time. Keys: AP (mean over thresholds and classes),
    AP50 (nan without threshold 0.5), per_class [{name, AP, AP50}], images. A class without objects is nan and left out
    of means; one without predictions is 0. Raises WsvisError for an id map that does not fit its predictions.
    """
    if min(thresholds, default=0) < 0.5:
        raise ValueError(f"thresholds must be 0.5 or more, got {list(thresholds)}")
    images = [image_overlaps(ids, item) for ids, item in image_pairs(id_maps, predictions)]
    table = np.array([[_class_ap(images, k, t, min_area) for t in thresholds] for k in range(len(CLASS_IDS))])
    half = np.isclose(thresholds, 0.5)
    rows = [
        {"name": name, "AP": _mean(row), "AP50": _mean(row[half])} for name, row in zip(CLASS_NAMES, table, strict=True)
    ]
    return {"AP": _mean(table), "AP50": _mean(table[:, half]), "per_class": rows, "images": len(images)}


def coco_instance_ap(id_maps: Iterable[np.ndarray], predictions: Iterable[EncodedInstances]) -> dict[str, Any]:
    """COCO's AP of the same input (keys of `average_precision`; −1 for a class without objects).

    Groups (ids below 1000 of an instance class) are crowds: a mask on one counts neither way. Void is not treated
    apart, and objects of any size count: COCO's protocol knows neither rule.
    """
    pairs = [(true_instances(ids), item) for ids, item in image_pairs(id_maps, predictions)]
    return average_precision([t for t, _ in pairs], [p for _, p in pairs], CLASS_IDS, CLASS_NAMES)


def true_instances(ids: np.ndarray) -> TrueInstances:
    """The objects and groups of the eight classes in an id map (H,W), in ascending order of their ids."""
    found = [int(value) for value in np.unique(ids) if int(label_ids(value)) in CLASS_IDS]
    return TrueInstances(
        [encode_mask(ids == value) for value in found],
        [int(label_ids(np.int64(value))) for value in found],
        [value < FIRST_INSTANCE_ID for value in found],
    )


def image_overlaps(ids: np.ndarray, predictions: EncodedInstances) -> ImageOverlaps:
    """Areas and shared pixels of one image; one mask at a time is dense."""
    values, places = np.unique(ids, return_inverse=True)
    places = places.reshape(ids.shape)
    shared = np.zeros((len(predictions), len(values)), np.int64)
    for n, rle in enumerate(predictions.rles):
        shared[n] = np.bincount(places[decode_mask(rle)], minlength=len(values))
    areas = shared.sum(axis=1)
    kept = areas > 0
    return ImageOverlaps(
        values.astype(np.int64),
        np.bincount(places.ravel(), minlength=len(values)),
        predictions.classes[kept],
        predictions.scores[kept].astype(np.float64),
        areas[kept],
        shared[kept],
    )


def _class_ap(images: Sequence[ImageOverlaps], index: int, threshold: float, min_area: int) -> float:
    """AP of one class at one threshold; nan without objects, 0 without predictions."""
    objects = sum(int(_objects(image, index, min_area).sum()) for image in images)
    if objects == 0:
        return float("nan")
    parts = [rank_detections(image, index, threshold, min_area) for image in images]
    scores = np.concatenate([part.scores for part in parts])
    correct = np.concatenate([part.correct for part in parts])
    return area_under_curve(RankedDetections(scores, correct, sum(part.missed for part in parts)))


def _objects(image: ImageOverlaps, index: int, min_area: int) -> np.ndarray:
    """Which ids are objects of a class that count, (S,) bool."""
    instance = (image.ids >= FIRST_INSTANCE_ID) & (label_ids(image.ids) == CLASS_IDS[index])
    return instance & (image.id_areas >= min_area)


def rank_detections(image: ImageOverlaps, index: int, threshold: float, min_area: int) -> RankedDetections:
    """The detections of one class in one image that are right or wrong; those to be ignored are left out."""
    own = image.classes == index
    shared, scores, areas = image.shared[own], image.scores[own], image.areas[own]
    objects = _objects(image, index, min_area)
    union = areas[:, None] + image.id_areas[None] - shared
    matches = (shared / union > threshold)[:, objects]
    best = [scores[row].max() for row in matches.T if row.any()]
    # Further matches of an object are wrong, and so is what matches nothing and does not lie on what is ignored.
    duplicates = [np.sort(scores[row])[:-1] for row in matches.T if row.any()]
    ignored = (shared * _ignored_weight(image, index, min_area)).sum(axis=1) / np.maximum(areas, 1) > threshold
    strays = scores[~matches.any(axis=1) & ~ignored]
    wrong = np.concatenate([*duplicates, strays])
    correct = np.arange(len(best) + len(wrong)) < len(best)
    return RankedDetections(np.concatenate([best, wrong]), correct, int(objects.sum()) - len(best))


def _ignored_weight(image: ImageOverlaps, index: int, min_area: int) -> np.ndarray:
    """How often a pixel of each id counts as ignored for a class, (S,).

    Void, groups of the class, and its too small ids. As in the official program a too small group counts twice, and
    an id of a void label with an instance number (29001, a caravan) not at all.
    """
    own = label_ids(image.ids) == CLASS_IDS[index]
    group = own & (image.ids < FIRST_INSTANCE_ID)
    small = own & (image.id_areas < min_area)
    return np.isin(image.ids, VOID_IDS).astype(np.int64) + group + small


def area_under_curve(ranked: RankedDetections) -> float:
    """Area under precision over recall, one point per different score and the point (recall 0, precision 1).

    Σ p_k · (r_{k−1} − r_{k+1}) / 2 over ascending scores, r before the first point repeated, 0 after the last.
    0 when nothing is ranked (there the official program stops with an error).
    """
    order = np.argsort(ranked.scores, kind="stable")
    _, first = np.unique(ranked.scores[order], return_index=True)
    below = np.concatenate([[0], np.cumsum(ranked.correct[order])])
    found = int(below[-1])
    right = found - below[first]
    precision = np.append(right / np.maximum(len(order) - first, 1), 1.0)
    recall = np.append(right / max(found + ranked.missed, 1), 0.0)
    padded = np.concatenate([recall[:1], recall, [0.0]])
    return float(precision @ (padded[:-2] - padded[2:]) / 2)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
