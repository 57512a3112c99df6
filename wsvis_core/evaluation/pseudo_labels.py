"""Pseudo-label quality on training frames: AP as in §7.2, and what is wrong with the masks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsvis_core.evaluation.coco import IGNORED, RIGHT, CocoResult, ImageScore, TrueInstances, combine
from wsvis_core.evaluation.frames import (
    SCORE_THRESHOLDS,
    FramePrediction,
    FrameScore,
    frame_metrics,
    pair_frames,
    score_frame,
)
from wsvis_core.evaluation.ground_truth import GroundTruth, parse_ground_truth, restrict_ground_truth
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.tracking.overlap import rle_areas, rle_ious

BINS = 20
EXAMPLES = 8


@dataclass(frozen=True)
class ObjectFits:
    """How the best same-class label fits each of N true objects (crowds left out).

    best_ious (N,) float64, 0 where there is none · area_ratios (N,) float64, area of the best label over area of the
    object · category_ids (N,) int64.
    """

    best_ious: np.ndarray
    area_ratios: np.ndarray
    category_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.best_ious)


@dataclass(frozen=True)
class LabelScore:
    """What is kept of a frame with pseudo-labels: its score, and how the best label fits each object."""

    frame: FrameScore
    fits: ObjectFits


def evaluate_pseudo_labels(
    ground_truth: dict[str, Any],
    pseudo_labels: Iterable[FramePrediction],
    category_ids: Sequence[int],
    *,
    missed_iou: float = 0.1,
    score_thresholds: Sequence[float] = SCORE_THRESHOLDS,
    videos: Collection[int] | None = None,
) -> dict[str, Any]:
    """Frame AP of pseudo-labels (all keys of `evaluate_frame_predictions`), and what is wrong with their masks.

    pseudo_labels: (video id, frame index, instances) of the training frames; ground truth is used for measuring
    only · videos: ids of the videos to score, all when None; their labels and objects alone count. Further keys:
    diagnostics (see `mask_diagnostics`; the rows of per_category have them too) · precision_recall (see
    `precision_curves`) · score_histogram {matched, unmatched}: numbers of labels in 20 bins of their score over 0..1,
    matched ones are true positives at IoU 0.5, those on crowds are left out · iou_histogram: number of objects in 20
    bins of their best IoU · examples (see `example_frames`). Raises WsvisError for a video without ground truth.
    """
    if videos is not None:
        wanted = set(videos)
        ground_truth = restrict_ground_truth(ground_truth, wanted)
        pseudo_labels = (item for item in pseudo_labels if item[0] in wanted)
    truth = parse_ground_truth(ground_truth)
    scores = score_labels(truth, pseudo_labels, category_ids)
    return label_metrics(scores, truth, category_ids, missed_iou=missed_iou, score_thresholds=score_thresholds)


def score_labels(
    truth: GroundTruth, pseudo_labels: Iterable[FramePrediction], category_ids: Sequence[int]
) -> list[LabelScore]:
    """The score of every frame of the ground truth, in the order of its videos' ids and frames."""
    scores = [
        LabelScore(score_frame(pair, category_ids), best_fits(pair.truth, pair.prediction, category_ids))
        for pair in pair_frames(truth, pseudo_labels, category_ids)
    ]
    return sorted(scores, key=lambda score: score.frame.place)


def label_metrics(
    scores: Sequence[LabelScore],
    truth: GroundTruth,
    category_ids: Sequence[int],
    *,
    missed_iou: float = 0.1,
    score_thresholds: Sequence[float] = SCORE_THRESHOLDS,
) -> dict[str, Any]:
    """The dict of `evaluate_pseudo_labels` from scored frames, all or some, in order."""
    images = [score.frame.image for score in scores]
    metrics = frame_metrics([score.frame for score in scores], truth, category_ids, score_thresholds)
    merged = merge_fits([score.fits for score in scores])
    per_class = _labels_per_class(images, len(category_ids))
    rows = [
        row | mask_diagnostics(_of_category(merged, int(c)), int(count), missed_iou=missed_iou)
        for row, c, count in zip(metrics["per_category"], category_ids, per_class, strict=True)
    ]
    names = [row["name"] for row in rows]
    return metrics | {
        "per_category": rows,
        "diagnostics": mask_diagnostics(merged, metrics["predictions"], missed_iou=missed_iou),
        "precision_recall": precision_curves(combine(images, len(category_ids)), category_ids, names),
        "score_histogram": _score_histogram(images),
        "iou_histogram": histogram(merged.best_ious),
        "examples": example_frames(scores),
    }


def best_fits(truth: TrueInstances, labels: EncodedInstances, category_ids: Sequence[int]) -> ObjectFits:
    """The fit of the best label to each object of a frame: the same-class label with the highest IoU, first of equals.

    category_ids[c] is the id of the labels' class index c. An object without a same-class label has IoU 0 and an area
    ratio that says nothing.
    """
    counted = np.flatnonzero(~np.asarray(truth.crowd, bool))
    objects = [truth.rles[i] for i in counted]
    ids = np.asarray(truth.category_ids, np.int64)[counted]
    label_ids = np.asarray(category_ids, np.int64)[labels.classes]
    ious = np.where(label_ids == ids[:, None], rle_ious(objects, labels.rles), 0.0)
    # A last column of zeros stands for "no label".
    ious, areas = np.pad(ious, ((0, 0), (0, 1))), np.append(rle_areas(labels.rles), 0.0)
    return ObjectFits(ious.max(axis=1), areas[ious.argmax(axis=1)] / np.maximum(rle_areas(objects), 1.0), ids)


def merge_fits(fits: Sequence[ObjectFits]) -> ObjectFits:
    """The fits of several frames as one, in their order."""
    none = ObjectFits(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    parts = [none, *fits]
    return ObjectFits(
        np.concatenate([part.best_ious for part in parts]),
        np.concatenate([part.area_ratios for part in parts]),
        np.concatenate([part.category_ids for part in parts]),
    )


def mask_diagnostics(fits: ObjectFits, labels: int, *, missed_iou: float = 0.1) -> dict[str, float | int]:
    """How the best pseudo-label of each true object fits it, from the fits and the number of labels.

    Keys: objects (number of true objects, crowds left out) · mean_best_iou (0 where an object has none) ·
    missed_share (best IoU < missed_iou) · mean_area_ratio (area of the best over area of the object, over objects
    not missed: below 1 means partial masks) · labels_per_object. Means over nothing are 0.
    """
    count = len(fits)
    missed = fits.best_ious < missed_iou
    ratios = fits.area_ratios[~missed]
    return {
        "objects": count,
        "mean_best_iou": float(fits.best_ious.mean()) if count else 0.0,
        "missed_share": float(missed.mean()) if count else 0.0,
        "mean_area_ratio": float(ratios.mean()) if len(ratios) else 0.0,
        "labels_per_object": labels / count if count else 0.0,
    }


def precision_curves(result: CocoResult, category_ids: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """Precision at recall 0, 0.01, …, 1 and IoU 0.5, 4 digits: {"mean": [101], "per_category": [{…, precision}]}.

    The mean is over categories with ground truth, so that its own mean is AP50; a list is empty without ground truth.
    """
    curves = result.precision[0]
    known = curves[0] > -1 if curves.size else np.zeros(0, bool)
    rows = [
        {"category_id": int(c), "name": name, "precision": _rounded(curves[:, k]) if known[k] else []}
        for k, (c, name) in enumerate(zip(category_ids, names, strict=True))
    ]
    return {"mean": _rounded(curves[:, known].mean(axis=1)) if known.any() else [], "per_category": rows}


def histogram(values: np.ndarray, bins: int = BINS) -> list[int]:
    """Numbers of values in equal bins over 0..1, lower edge included; 1 is in the last bin, as is anything above."""
    places = np.clip((np.asarray(values, np.float64) * bins).astype(np.int64), 0, bins - 1)
    return np.bincount(places, minlength=bins).tolist()


def example_frames(scores: Sequence[LabelScore], count: int = EXAMPLES) -> dict[str, Any]:
    """The `count` worst and best frames by the mean best IoU of their objects, and frames with labels but no object.

    {"worst": […], "best": […], "false_alarms": […]}, rows {video_id, frame, mean_best_iou, objects, labels}; false
    alarms have no mean_best_iou and come with most labels first. Ties by video id, then frame. Frames with nothing but
    crowds are in no list.
    """
    with_objects, alarms = [], []
    for score in scores:
        (video_id, frame), fit, labels = score.frame.place, score.fits, len(score.frame.image.scores)
        row = {"video_id": video_id, "frame": frame, "objects": len(fit), "labels": labels}
        if len(fit):
            with_objects.append(row | {"mean_best_iou": float(fit.best_ious.mean())})
        elif labels and not score.frame.objects:
            alarms.append(row)
    # Frames are in order of video id and frame already, and sorting keeps the order of equals.
    return {
        "worst": sorted(with_objects, key=lambda row: row["mean_best_iou"])[:count],
        "best": sorted(with_objects, key=lambda row: -row["mean_best_iou"])[:count],
        "false_alarms": sorted(alarms, key=lambda row: -row["labels"])[:count],
    }


def _of_category(fits: ObjectFits, category_id: int) -> ObjectFits:
    keep = fits.category_ids == category_id
    return ObjectFits(fits.best_ious[keep], fits.area_ratios[keep], fits.category_ids[keep])


def _labels_per_class(images: Sequence[ImageScore], classes: int) -> np.ndarray:
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *(item.classes for item in images)]), minlength=classes)


def _score_histogram(images: Sequence[ImageScore]) -> dict[str, list[int]]:
    scores = np.concatenate([np.zeros(0, np.float32), *(item.scores for item in images)])
    verdict = np.concatenate([np.zeros(0, np.int8), *(item.verdicts for item in images)])
    unmatched = (verdict != RIGHT) & (verdict != IGNORED)
    return {"matched": histogram(scores[verdict == RIGHT]), "unmatched": histogram(scores[unmatched])}


def _rounded(curve: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in curve]
