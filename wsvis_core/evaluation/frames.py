"""Frame AP: every annotated frame is one image (docs/method.md §7.1), and instances per frame (§7.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.coco import CocoResult, TrueInstances, score_images, summarize
from wsvis_core.evaluation.ground_truth import GroundTruth, parse_ground_truth
from wsvis_core.storage.instance_shards import EncodedInstances

FramePrediction = tuple[int, int, EncodedInstances]
SCORE_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class FramePairs:
    """Truth and prediction of every frame of the ground truth, ordered by video id, then frame."""

    places: tuple[tuple[int, int], ...]
    truth: tuple[TrueInstances, ...]
    predictions: tuple[EncodedInstances, ...]
    names: tuple[str, ...]


def evaluate_frame_predictions(
    ground_truth: dict[str, Any],
    predictions: Iterable[FramePrediction],
    category_ids: Sequence[int],
    *,
    score_thresholds: Sequence[float] = SCORE_THRESHOLDS,
) -> dict[str, Any]:
    """COCO AP over all frames of the ground truth, 0..1 (−1 without ground truth), and instances per frame.

    ground_truth: YouTube-VIS annotations · predictions: (video id, frame index, instances) in any order; a frame
    without an entry has none · category_ids[c]: the id of class index c. Keys: mAP, AP50, AP75, AR100,
    per_category, frames, ground_truth_instances, predictions, instances_per_frame ({threshold: mean number with
    score ≥ threshold}). Raises one WsvisError with all predictions that fit no frame.
    """
    pairs = pair_frames(parse_ground_truth(ground_truth), predictions, category_ids)
    result = score_images(pairs.truth, pairs.predictions, category_ids)
    return frame_metrics(pairs, result, category_ids, score_thresholds)


def frame_metrics(
    pairs: FramePairs, result: CocoResult, category_ids: Sequence[int], score_thresholds: Sequence[float]
) -> dict[str, Any]:
    """The dict of `evaluate_frame_predictions` from scored frames."""
    return summarize(result, category_ids, pairs.names) | {
        "frames": len(pairs.places),
        "ground_truth_instances": sum(len(item.rles) for item in pairs.truth),
        "predictions": sum(len(item) for item in pairs.predictions),
        "instances_per_frame": instances_per_frame(pairs.predictions, score_thresholds),
    }


def instances_per_frame(
    predictions: Sequence[EncodedInstances], thresholds: Sequence[float] = SCORE_THRESHOLDS
) -> dict[str, float]:
    """Mean number of instances with score ≥ each threshold, keyed by the threshold as text; 0 without frames."""
    scores = np.concatenate([np.zeros(0, np.float32), *(item.scores for item in predictions)])
    frames = max(len(predictions), 1)
    # Scores are float32: compare in float32, or a score written as 0.05 is below the threshold 0.05 or not by chance.
    return {str(t): int((scores >= np.float32(t)).sum()) / frames for t in thresholds}


def pair_frames(truth: GroundTruth, predictions: Iterable[FramePrediction], category_ids: Sequence[int]) -> FramePairs:
    """Truth and prediction frame by frame; one WsvisError with everything that does not fit."""
    problems = [
        f"category {c} of the ground truth is not among the predictions' categories"
        for c in truth.categories
        if c not in set(category_ids)
    ]
    found: dict[tuple[int, int], EncodedInstances] = {}
    for video_id, frame, item in predictions:
        problem = _problem(truth, (video_id, frame), item, len(category_ids))
        if (video_id, frame) in found:
            problem = "is given twice"
        if problem:
            problems.append(f"video {video_id}, frame {frame}: {problem}")
        found[video_id, frame] = item
    if problems:
        shown = problems[:50] + ([f"… and {len(problems) - 50} more"] if len(problems) > 50 else [])
        raise WsvisError("the predictions do not fit the ground truth:\n  " + "\n  ".join(shown))
    return _align(truth, found, category_ids)


def _problem(truth: GroundTruth, place: tuple[int, int], item: EncodedInstances, categories: int) -> str | None:
    video = truth.videos.get(place[0])
    if video is None:
        return "there is no such video"
    if not 0 <= place[1] < video.length:
        return f"the video has frames 0..{video.length - 1}"
    if tuple(item.size) != (video.height, video.width):
        return f"masks are {tuple(item.size)}, frames are {(video.height, video.width)}"
    if len(item) and not (0 <= item.classes.min() and item.classes.max() < categories):
        return f"class indices must be 0..{categories - 1}, found {item.classes.min()}..{item.classes.max()}"
    if not np.isfinite(item.scores).all():
        return "a score is not finite"
    return None


def _align(
    truth: GroundTruth, found: dict[tuple[int, int], EncodedInstances], category_ids: Sequence[int]
) -> FramePairs:
    objects: dict[tuple[int, int], list[tuple[Any, int, bool]]] = {}
    for track in truth.tracks:
        for frame, mask in enumerate(track.masks):
            if mask is not None:
                row = (mask, track.category_id, track.crowd)
                objects.setdefault((track.video_id, frame), []).append(row)
    places = [(video.id, frame) for video in truth.videos.values() for frame in range(video.length)]
    sizes = {video.id: (video.height, video.width) for video in truth.videos.values()}
    rows = [objects.get(place, []) for place in places]
    return FramePairs(
        tuple(places),
        tuple(TrueInstances([r[0] for r in row], [r[1] for r in row], [r[2] for r in row]) for row in rows),
        tuple(found.get(place, EncodedInstances.empty(sizes[place[0]])) for place in places),
        tuple(truth.categories.get(int(c), str(c)) for c in category_ids),
    )


def above_score(item: EncodedInstances, threshold: float) -> EncodedInstances:
    """The instances with score ≥ threshold."""
    keep = np.flatnonzero(item.scores >= np.float32(threshold))
    return replace(
        item,
        rles=tuple(item.rles[i] for i in keep),
        classes=item.classes[keep],
        scores=item.scores[keep],
        boxes_xyxy=item.boxes_xyxy[keep],
        appearance=None if item.appearance is None else item.appearance[keep],
    )
