"""The video instance segmentation metric of YouTube-VIS (docs/method.md §5.4), over RLEs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from wsvis_core.evaluation.averages import AREA_RANGES, MAX_DETECTIONS, Tables, averages, category_tables
from wsvis_core.evaluation.ground_truth import GroundTruth, TruthTrack
from wsvis_core.evaluation.matching import Matches, match
from wsvis_core.evaluation.track_iou import mean_areas
from wsvis_core.evaluation.validation import ResultTrack, checked

CATEGORY_METRICS = ("mAP", "AP50", "AP75", "AR1", "AR10")
AllMatches = dict[tuple[int, int], Matches]


def evaluate_video_results(ground_truth: dict[str, Any], results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """VIS metrics of a result list, each 0..1; −1 where no category has ground truth, as the official code has it.

    ground_truth: a YouTube-VIS annotation object · results: entries with video_id, category_id, score, and
    segmentations = one compressed RLE or None per frame. Keys: mAP (IoU .50:.05:.95), AP50, AP75, AP_small,
    AP_medium, AP_large, AR1, AR10, AR100, AR_small, AR_medium, AR_large, counts, and per_category (a list in order
    of ids). Category values of −1 are left out of the means. Raises one WsvisError that lists everything wrong with
    the input. An empty result list is legal.
    """
    truth, tracks = checked(ground_truth, results)
    matches = match_video_results(truth, tracks)
    return summarise(matches, truth, tables_of(matches, truth))


def match_video_results(truth: GroundTruth, results: Sequence[ResultTrack]) -> AllMatches:
    """Matches of every (category id, video id) that has ground truth or results, in ascending order."""
    tracks: dict[tuple[int, int], list[TruthTrack]] = {}
    for track in truth.tracks:
        tracks.setdefault((track.category_id, track.video_id), []).append(track)
    found: dict[tuple[int, int], list[ResultTrack]] = {}
    for result in results:
        found.setdefault((result.category_id, result.video_id), []).append(result)
    return {
        key: _match_one(tracks.get(key, []), found.get(key, []), truth.videos[key[1]].length)
        for key in sorted({*tracks, *found})
    }


def _match_one(tracks: Sequence[TruthTrack], found: Sequence[ResultTrack], length: int) -> Matches:
    """Matches of one video and category of `length` frames."""
    areas = np.array([track.areas for track in tracks]).reshape(len(tracks), length)
    return match(
        np.array([result.ious for result in found]).reshape(len(found), len(tracks)),
        np.array([result.score for result in found]),
        crowd=np.array([track.crowd for track in tracks], bool),
        outside=_outside(mean_areas(areas)),
        detection_outside=_outside(np.array([result.area for result in found])),
        max_detections=MAX_DETECTIONS[-1],
    )


def _outside(areas: np.ndarray) -> np.ndarray:
    """(A,N) bool: areas (N,) that are not in each of the A area ranges (bounds inclusive)."""
    low, high = np.array(list(AREA_RANGES.values()))[:, :, None].swapaxes(0, 1)
    return (areas < low) | (areas > high)


def tables_of(matches: Mapping[tuple[int, int], Matches], truth: GroundTruth) -> Tables:
    """Precision and recall of every category of the ground truth, in order of ids."""
    return category_tables([_of_category(matches, category) for category in truth.categories])


def _of_category(matches: Mapping[tuple[int, int], Matches], category: int) -> list[Matches]:
    return [m for (owner, _), m in matches.items() if owner == category]


def summarise(matches: Mapping[tuple[int, int], Matches], truth: GroundTruth, tables: Tables) -> dict[str, Any]:
    """The metrics of `evaluate_video_results` from the matches of all videos and their tables."""
    metrics: dict[str, Any] = _known(averages(tables))
    metrics |= {
        "videos": len(truth.videos),
        "ground_truth_tracks": len(truth.tracks),
        "result_tracks": sum(len(m.scores) for m in matches.values()),
    }
    metrics["per_category"] = [
        {"category_id": category, "name": name}
        | {key: value for key, value in _known(averages(tables.category(k))).items() if key in CATEGORY_METRICS}
        | _counts(_of_category(matches, category))
        for k, (category, name) in enumerate(truth.categories.items())
    ]
    return metrics


def _counts(parts: Sequence[Matches]) -> dict[str, int]:
    return {
        "ground_truth_tracks": sum(int(m.positives[0]) for m in parts),
        "result_tracks": sum(len(m.scores) for m in parts),
    }


def _known(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {key: -1.0 if np.isnan(value) else float(value) for key, value in values.items()}
