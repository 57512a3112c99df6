"""Pseudo-label quality on training frames: AP as in §7.2, and what is wrong with the masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wsvis_core.evaluation.frames import (
    SCORE_THRESHOLDS,
    FramePairs,
    FramePrediction,
    evaluate_frame_predictions,
    pair_frames,
)
from wsvis_core.evaluation.ground_truth import parse_ground_truth
from wsvis_core.tracking.overlap import rle_areas, rle_ious


def evaluate_pseudo_labels(
    ground_truth: dict[str, Any],
    pseudo_labels: Iterable[FramePrediction],
    category_ids: Sequence[int],
    *,
    missed_iou: float = 0.1,
    score_thresholds: Sequence[float] = SCORE_THRESHOLDS,
) -> dict[str, Any]:
    """Frame AP of pseudo-labels (all keys of `evaluate_frame_predictions`), plus `diagnostics` of their masks.

    pseudo_labels: (video id, frame index, instances) of the training frames; ground truth is used for measuring
    only. See `mask_diagnostics` for the diagnostics.
    """
    labels = list(pseudo_labels)
    metrics = evaluate_frame_predictions(ground_truth, labels, category_ids, score_thresholds=score_thresholds)
    pairs = pair_frames(parse_ground_truth(ground_truth), labels, category_ids)
    return metrics | {"diagnostics": mask_diagnostics(pairs, category_ids, missed_iou=missed_iou)}


def mask_diagnostics(
    pairs: FramePairs, category_ids: Sequence[int], *, missed_iou: float = 0.1
) -> dict[str, float | int]:
    """How the best pseudo-label of each true object fits it; the best is the same-class one with the highest IoU.

    Keys: objects (number of true objects, crowds left out) · mean_best_iou (0 where an object has none) ·
    missed_share (best IoU < missed_iou) · mean_area_ratio (area of the best over area of the object, over objects
    not missed: below 1 means partial masks) · labels_per_object. Means over nothing are 0.
    """
    ious, ratios = [], []
    for truth, labels in zip(pairs.truth, pairs.predictions, strict=True):
        overlaps = rle_ious(truth.rles, labels.rles)
        label_ids = np.array([category_ids[int(c)] for c in labels.classes], np.int64)
        areas = rle_areas(labels.rles)
        for row, area, category, crowd in zip(
            overlaps, rle_areas(truth.rles), truth.category_ids, truth.crowd, strict=True
        ):
            if crowd:
                continue
            same = np.where(label_ids == category, row, 0.0)
            best = int(same.argmax()) if len(same) else -1
            ious.append(float(same[best]) if best >= 0 else 0.0)
            if ious[-1] >= missed_iou:
                ratios.append(float(areas[best] / max(area, 1.0)))
    count = len(ious)
    return {
        "objects": count,
        "mean_best_iou": float(np.mean(ious)) if count else 0.0,
        "missed_share": float(np.mean(np.array(ious) < missed_iou)) if count else 0.0,
        "mean_area_ratio": float(np.mean(ratios)) if ratios else 0.0,
        "labels_per_object": sum(len(item) for item in pairs.predictions) / count if count else 0.0,
    }
