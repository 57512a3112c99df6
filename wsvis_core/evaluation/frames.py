"""Frame AP: every annotated frame is one image (docs/method.md §7.1), and instances per frame (§7.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.coco import ImageScore, TrueInstances, combine, score_image, summarize
from wsvis_core.evaluation.ground_truth import GroundTruth, parse_ground_truth
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import Rle

FramePrediction = tuple[int, int, EncodedInstances]
Row = tuple[Rle, int, bool]
SCORE_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class FramePair:
    """Truth and prediction of the frame at `place` = (video id, frame index)."""

    place: tuple[int, int]
    truth: TrueInstances
    prediction: EncodedInstances


@dataclass(frozen=True)
class FrameScore:
    """What is kept of a frame: its place, the number of its objects (crowds too), and its predictions' outcomes."""

    place: tuple[int, int]
    objects: int
    image: ImageScore


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
    truth = parse_ground_truth(ground_truth)
    pairs = pair_frames(truth, predictions, category_ids)
    return frame_metrics([score_frame(pair, category_ids) for pair in pairs], truth, category_ids, score_thresholds)


def score_frame(pair: FramePair, category_ids: Sequence[int]) -> FrameScore:
    """The score of one frame, whose masks can then be let go."""
    return FrameScore(pair.place, len(pair.truth.rles), score_image(pair.truth, pair.prediction, category_ids))


def frame_metrics(
    frames: Iterable[FrameScore], truth: GroundTruth, category_ids: Sequence[int], score_thresholds: Sequence[float]
) -> dict[str, Any]:
    """The dict of `evaluate_frame_predictions` from scored frames, in any order."""
    frames = sorted(frames, key=lambda frame: frame.place)  # equal scores are ranked in this order
    images = [frame.image for frame in frames]
    names = [truth.categories.get(int(c), str(c)) for c in category_ids]
    return summarize(combine(images, len(category_ids)), category_ids, names) | {
        "frames": len(frames),
        "ground_truth_instances": sum(frame.objects for frame in frames),
        "predictions": sum(len(image.scores) for image in images),
        "instances_per_frame": instances_per_frame([image.scores for image in images], score_thresholds),
    }


def instances_per_frame(
    frames: Sequence[np.ndarray], thresholds: Sequence[float] = SCORE_THRESHOLDS
) -> dict[str, float]:
    """Mean number of instances with score ≥ each threshold, keyed by the threshold as text; 0 without frames.

    frames: the scores (N,) float32 of each frame.
    """
    scores = np.concatenate([np.zeros(0, np.float32), *frames])
    # Scores are float32: compare in float32, or a score written as 0.05 is below the threshold 0.05 or not by chance.
    return {str(t): int((scores >= np.float32(t)).sum()) / max(len(frames), 1) for t in thresholds}


def pair_frames(
    truth: GroundTruth, predictions: Iterable[FramePrediction], category_ids: Sequence[int]
) -> Iterator[FramePair]:
    """Truth and prediction of every frame of the ground truth, one at a time, first those that are given.

    After the last of `predictions`, one WsvisError with all that do not fit.
    """
    problems = [
        f"category {c} of the ground truth is not among the predictions' categories"
        for c in truth.categories
        if c not in set(category_ids)
    ]
    objects = _objects(truth)
    given: set[tuple[int, int]] = set()
    for video_id, frame, item in predictions:
        place = video_id, frame
        problem = "is given twice" if place in given else _problem(truth, place, item, len(category_ids))
        given.add(place)
        if problem:
            problems.append(f"video {video_id}, frame {frame}: {problem}")
        elif not problems:
            yield FramePair(place, _true_instances(objects.get(place, [])), item)
    if problems:
        shown = problems[:50] + ([f"… and {len(problems) - 50} more"] if len(problems) > 50 else [])
        raise WsvisError("the predictions do not fit the ground truth:\n  " + "\n  ".join(shown))
    for video in truth.videos.values():
        for place in ((video.id, frame) for frame in range(video.length)):
            if place not in given:
                nothing = EncodedInstances.empty((video.height, video.width))
                yield FramePair(place, _true_instances(objects.get(place, [])), nothing)


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


def _objects(truth: GroundTruth) -> dict[tuple[int, int], list[Row]]:
    """Mask, category id and crowd of the objects of every frame that has any."""
    objects: dict[tuple[int, int], list[Row]] = {}
    for track in truth.tracks:
        for frame, mask in enumerate(track.masks):
            if mask is not None:
                objects.setdefault((track.video_id, frame), []).append((mask, track.category_id, track.crowd))
    return objects


def _true_instances(rows: Sequence[Row]) -> TrueInstances:
    return TrueInstances([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


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
