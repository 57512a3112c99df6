"""The video instance segmentation metric of YouTube-VIS (docs/method.md §5.4), over RLEs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsvis_core.evaluation.ground_truth import GroundTruth, TruthTrack
from wsvis_core.evaluation.matching import IOU_THRESHOLDS, Matches, match, precision_recall
from wsvis_core.evaluation.track_iou import mean_areas, track_areas, track_ious
from wsvis_core.evaluation.validation import checked

AREA_RANGES: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 128.0**2),
    "medium": (128.0**2, 256.0**2),
    "large": (256.0**2, 1e10),
}
MAX_DETECTIONS = (1, 10, 100)
AllMatches = dict[tuple[int, int], Matches]


def evaluate_video_results(ground_truth: dict[str, Any], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """VIS metrics of a result list, each 0..1; −1 where no category has ground truth, as the official code has it.

    ground_truth: a YouTube-VIS annotation object · results: entries with video_id, category_id, score, and
    segmentations = one compressed RLE or None per frame. Keys: mAP (IoU .50:.05:.95), AP50, AP75, AP_small,
    AP_medium, AP_large, AR1, AR10, AR100, AR_small, AR_medium, AR_large, counts, and per_category (a list in order
    of ids). Category values of −1 are left out of the means. Raises one WsvisError that lists everything wrong with
    the input. An empty result list is legal.
    """
    truth = checked(ground_truth, list(results) if isinstance(results, tuple) else results)
    return summarise(match_video_results(truth, results), truth)


def match_video_results(truth: GroundTruth, results: Sequence[dict[str, Any]]) -> AllMatches:
    """Matches of every (category id, video id) that has ground truth or results, in ascending order."""
    tracks: dict[tuple[int, int], list[TruthTrack]] = {}
    for track in truth.tracks:
        tracks.setdefault((track.category_id, track.video_id), []).append(track)
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for entry in results:
        found.setdefault((int(entry["category_id"]), int(entry["video_id"])), []).append(entry)
    return {
        key: _match_one(tracks.get(key, []), found.get(key, []), truth.videos[key[1]].length)
        for key in sorted({*tracks, *found})
    }


def _match_one(tracks: Sequence[TruthTrack], found: Sequence[dict[str, Any]], length: int) -> Matches:
    """Matches of one video and category of `length` frames."""
    true_masks = [track.masks for track in tracks]
    masks = [entry["segmentations"] for entry in found]
    true_areas, areas = track_areas(true_masks, length), track_areas(masks, length)
    ious = track_ious(masks, true_masks, areas, true_areas)
    annotated = [row if track.areas is None else track.areas for track, row in zip(tracks, true_areas, strict=True)]
    return match(
        ious,
        np.array([float(entry["score"]) for entry in found]),
        crowd=np.array([track.crowd for track in tracks], bool),
        outside=_outside(mean_areas(np.array(annotated).reshape(len(tracks), length))),
        detection_outside=_outside(mean_areas(areas)),
        max_detections=MAX_DETECTIONS[-1],
    )


def _outside(areas: np.ndarray) -> np.ndarray:
    """(A,N) bool: areas (N,) that are not in each of the A area ranges (bounds inclusive)."""
    return np.stack([(areas < low) | (areas > high) for low, high in AREA_RANGES.values()])


def summarise(matches: Mapping[tuple[int, int], Matches], truth: GroundTruth) -> dict[str, Any]:
    """The metrics of `evaluate_video_results` from the matches of all videos."""
    parts = {c: [m for (category, _), m in matches.items() if category == c] for c in truth.categories}
    precision, recall = _tables(list(parts.values()))
    metrics = _averages(precision, recall)
    metrics |= {
        "videos": len(truth.videos),
        "ground_truth_tracks": len(truth.tracks),
        "result_tracks": sum(len(m.scores) for m in matches.values()),
    }
    metrics["per_category"] = [
        {
            "category_id": category,
            "name": truth.categories[category],
            **{
                key: value
                for key, value in _averages(precision[:, k : k + 1], recall[:, :, k : k + 1]).items()
                if key in ("mAP", "AP50", "AP75", "AR1", "AR10")
            },
            "ground_truth_tracks": sum(int(m.positives[0]) for m in parts[category]),
            "result_tracks": sum(len(m.scores) for m in parts[category]),
        }
        for k, category in enumerate(truth.categories)
    ]
    return metrics


def _tables(parts: Sequence[Sequence[Matches]]) -> tuple[np.ndarray, np.ndarray]:
    """AP (A,K,T) with the most detections, largest recall (A,M,K,T); NaN where a category has no ground truth."""
    shape = (len(parts), len(IOU_THRESHOLDS))
    precision = np.full((len(AREA_RANGES), *shape), np.nan)
    recall = np.full((len(AREA_RANGES), len(MAX_DETECTIONS), *shape), np.nan)
    for k, category in enumerate(parts):
        for m, count in enumerate(MAX_DETECTIONS):
            best = [part.top(count) for part in category]
            for a in range(len(AREA_RANGES)):
                curve = precision_recall(best, a)
                if curve is None:
                    continue
                precision[a, k], recall[a, m, k] = curve[0].mean(axis=1), curve[1]
    return precision, recall


def _averages(precision: np.ndarray, recall: np.ndarray) -> dict[str, Any]:
    """Means over categories and thresholds of the tables of `_tables`."""
    at50, at75 = (int(np.argmin(np.abs(IOU_THRESHOLDS - v))) for v in (0.5, 0.75))
    averages = {
        "mAP": _mean(precision[0]),
        "AP50": _mean(precision[0, :, at50]),
        "AP75": _mean(precision[0, :, at75]),
    }
    averages |= {f"AR{count}": _mean(recall[0, m]) for m, count in enumerate(MAX_DETECTIONS)}
    for a, name in list(enumerate(AREA_RANGES))[1:]:
        averages[f"AP_{name}"] = _mean(precision[a])
        averages[f"AR_{name}"] = _mean(recall[a, -1])
    return averages


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else -1.0
