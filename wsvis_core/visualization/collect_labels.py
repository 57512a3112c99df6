"""Gather what the report says about pseudo-labels: charts' data from the metrics, frames to look at from the shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsvis_core.datasets.video import VideoDataset
from wsvis_core.evaluation.coco import TrueInstances
from wsvis_core.evaluation.frames import pair_frames
from wsvis_core.evaluation.ground_truth import GroundTruth, parse_ground_truth, restrict_ground_truth
from wsvis_core.evaluation.pseudo_labels import best_fits
from wsvis_core.storage.instance_shards import EncodedInstances, open_instances
from wsvis_core.storage.rle import decode_mask
from wsvis_core.visualization.inputs import LabelExample, LabelQuality, LabelView

CATEGORY_COLUMNS = ("AP50", "AP75", "mean_best_iou", "missed_share", "mean_area_ratio", "objects")
Place = tuple[int, int]
Pair = tuple[TrueInstances, EncodedInstances]


def label_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a labeller's row: AP and counts, then the diagnostics."""
    # Nearly always the same as the diagnostics' "objects", which leaves out crowds.
    left_out = {"ground_truth_instances"}
    whole = {key: value for key, value in metrics.items() if isinstance(value, int | float) and key not in left_out}
    return whole | metrics["diagnostics"]


def label_quality(metrics: Mapping[str, Any]) -> LabelQuality:
    """The charts' data from the metrics of `evaluate_pseudo_labels`."""
    curves = metrics["precision_recall"]
    return LabelQuality(
        mean_precision=curves["mean"],
        category_precision={row["name"]: row["precision"] for row in curves["per_category"]},
        matched_scores=metrics["score_histogram"]["matched"],
        unmatched_scores=metrics["score_histogram"]["unmatched"],
        best_ious=metrics["iou_histogram"],
        categories={row["name"]: {key: row[key] for key in CATEGORY_COLUMNS} for row in metrics["per_category"]},
    )


def label_examples(
    dataset: VideoDataset,
    ground_truth: Mapping[str, Any],
    shards: Mapping[str, Sequence[Path]],
    examples: Mapping[str, Sequence[Mapping[str, Any]]],
    labeller: str,
) -> dict[str, list[LabelExample]]:
    """Sheet title -> the example frames of `labeller`, each with the labels of every labeller.

    shards: labeller -> the shards with its labels of the training videos · examples: as `evaluate_pseudo_labels` gives
    them. False alarms have a sheet only where there are any.
    """
    groups = {f"Worst frames of {labeller}": examples["worst"], f"Best frames of {labeller}": examples["best"]}
    if examples["false_alarms"]:
        groups[f"Labels of {labeller} where there is no object"] = examples["false_alarms"]
    places = sorted({_place(row) for rows in groups.values() for row in rows})
    truth = parse_ground_truth(restrict_ground_truth(dict(ground_truth), {video for video, _ in places}))
    found = {name: _pairs(dataset, truth, paths, places) for name, paths in shards.items()}
    shown = {place: _example(dataset, place, {name: pairs[place] for name, pairs in found.items()}) for place in places}
    return {title: [shown[_place(row)] for row in rows] for title, rows in groups.items()}


def _place(row: Mapping[str, Any]) -> Place:
    return row["video_id"], row["frame"]


def _pairs(
    dataset: VideoDataset, truth: GroundTruth, shards: Sequence[Path], places: Sequence[Place]
) -> dict[Place, Pair]:
    """Objects and labels of the frames at `places`."""
    reader = open_instances(shards)
    found = [(video, t, reader.frame(video, t)) for video, t in places]
    pairs = pair_frames(truth, found, [category.id for category in dataset.categories])
    return {pair.place: (pair.truth, pair.prediction) for pair in pairs if pair.place in set(places)}


def _example(dataset: VideoDataset, place: Place, pairs: Mapping[str, Pair]) -> LabelExample:
    video, t = dataset.video(place[0]), place[1]
    ids = [category.id for category in dataset.categories]
    views = {
        name: LabelView(labels, best_fits(truth, labels, ids).best_ious) for name, (truth, labels) in pairs.items()
    }
    objects = _objects(dataset, next(iter(pairs.values()))[0])
    return LabelExample(f"{video.name}, frame {t}", dataset.read_frame(video, t), objects, views)


def _objects(dataset: VideoDataset, truth: TrueInstances) -> list[tuple[str, np.ndarray]]:
    """Class name and mask of each object, crowds left out."""
    rows = zip(truth.rles, truth.category_ids, truth.crowd, strict=True)
    names = dataset.categories
    return [(names[dataset.class_index(c)].name, decode_mask(rle)) for rle, c, crowd in rows if not crowd]
