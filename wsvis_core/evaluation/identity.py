"""Identity switches and fragmentations: where a true object changes its track, and where its track breaks off.

Matching frame by frame as CLEAR MOT does (Bernardin and Stiefelhagen, 2008): an object keeps the track it was last
matched with while both are there and overlap enough; the rest is assigned for the most matches, then the largest sum
of IoUs. Classes do not decide who is matched, so that a track of another class is seen as what it is: a switch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from wsvis_core.evaluation.ground_truth import TruthTrack
from wsvis_core.evaluation.track_iou import Masks
from wsvis_core.evaluation.validation import checked
from wsvis_core.tracking.overlap import rle_ious

UNMATCHED = 0


@dataclass(frozen=True)
class Switch:
    """A true object (annotation id `truth`) is found by track `after` in `frame`, last by `before` in `last_frame`.

    Frames count from 0; tracks are places among the video's results, from 1. The categories are the tracks' own.
    """

    frame: int
    last_frame: int
    truth: int
    before: int
    after: int
    before_category: int
    after_category: int


@dataclass(frozen=True)
class Fragmentation:
    """A true object is there but not found in `frame` and maybe after, having been found before and again later."""

    frame: int
    resumed: int
    truth: int


def identity_report(
    ground_truth: dict[str, Any],
    results: Sequence[dict[str, Any]],
    *,
    iou_threshold: float = 0.5,
    min_score: float = 0.0,
) -> dict[str, Any]:
    """Identity switches and fragmentations of a result list, in all and per video, with the places.

    ground_truth and results as for `evaluate_video_results`, checked alike; crowds are left out, and so are results
    with a score below `min_score` (numbers of tracks stay). Keys: iou_threshold, min_score, and the counts switches,
    class_switches (to a track of another category), fragmentations, visible (masks of objects in all frames), matched
    (those of them that are found); `videos` has the same counts per video with video_id and, as lists, switched and
    fragmented. Raises one WsvisError that lists everything wrong with the input.
    """
    truth, _ = checked(ground_truth, list(results) if isinstance(results, tuple) else results)
    entries: dict[int, list[dict[str, Any]]] = {video_id: [] for video_id in truth.videos}
    for entry in results:
        entries[int(entry["video_id"])].append(entry)
    videos = []
    for video in truth.videos.values():
        tracks = [track for track in truth.tracks if track.video_id == video.id and not track.crowd]
        counts = _video_report(tracks, entries[video.id], video.length, iou_threshold, min_score)
        videos.append({"video_id": video.id, **counts})
    keys = ("switches", "class_switches", "fragmentations", "matched", "visible")
    totals = {key: sum(video[key] for video in videos) for key in keys}
    return {"iou_threshold": iou_threshold, "min_score": min_score, **totals, "videos": videos}


def _video_report(
    tracks: Sequence[TruthTrack],
    entries: Sequence[dict[str, Any]],
    length: int,
    iou_threshold: float,
    min_score: float,
) -> dict[str, Any]:
    numbers = [n for n, entry in enumerate(entries, 1) if entry["score"] >= min_score]
    found = {number: entries[number - 1]["segmentations"] for number in numbers}
    categories = {number: int(entries[number - 1]["category_id"]) for number in numbers}
    matches = match_frames([track.masks for track in tracks], found, length, iou_threshold)
    visible = np.array([[mask is not None for mask in track.masks] for track in tracks], bool)
    switched: list[Switch] = []
    fragmented: list[Fragmentation] = []
    for track, row, seen in zip(tracks, matches, visible, strict=True):
        switched += _switches(track.id, row, categories)
        fragmented += _fragmentations(track.id, row, seen)
    return {
        "switches": len(switched),
        "class_switches": sum(switch.before_category != switch.after_category for switch in switched),
        "fragmentations": len(fragmented),
        "matched": int((matches != UNMATCHED).sum()),
        "visible": int(visible.sum()),
        "switched": [asdict(switch) for switch in switched],
        "fragmented": [asdict(gap) for gap in fragmented],
    }


def match_frames(truth: Sequence[Masks], found: Mapping[int, Masks], length: int, iou_threshold: float) -> np.ndarray:
    """Number of the track matched to each of G objects in each of T frames, UNMATCHED where none: (G,T) int64.

    truth: G lists of T RLEs or None · found: number (from 1) → the same. An object's last track is remembered while
    it is hidden or missed; where two objects remember the same one, the earlier in the list has it.
    """
    matches = np.full((len(truth), length), UNMATCHED, np.int64)
    last = [UNMATCHED] * len(truth)
    for t in range(length):
        objects = [g for g, masks in enumerate(truth) if masks[t] is not None]
        numbers = [number for number, masks in found.items() if masks[t] is not None]
        ious = rle_ious([truth[g][t] for g in objects], [found[number][t] for number in numbers])
        for row, column in _assign(ious, [last[g] for g in objects], numbers, iou_threshold):
            matches[objects[row], t] = last[objects[row]] = numbers[column]
    return matches


def _assign(
    ious: np.ndarray, last: Sequence[int], numbers: Sequence[int], iou_threshold: float
) -> list[tuple[int, int]]:
    """(row, column) of the matches of one frame: kept ones first, then the best assignment of the rest."""
    allowed = ious >= iou_threshold
    columns = {number: column for column, number in enumerate(numbers)}
    kept: dict[int, int] = {}
    for row, number in enumerate(last):
        column = columns.get(number)
        if column is not None and allowed[row, column] and column not in kept.values():
            kept[row] = column
    allowed[list(kept)] = False
    allowed[:, list(kept.values())] = False
    # One more match outweighs any sum of IoUs.
    worth = np.where(allowed, ious + min(ious.shape), 0.0)
    new = zip(*linear_sum_assignment(worth, maximize=True), strict=True)
    return [*kept.items(), *((int(row), int(column)) for row, column in new if allowed[row, column])]


def _switches(truth: int, row: np.ndarray, categories: Mapping[int, int]) -> list[Switch]:
    """The switches of one object (annotation id `truth`) from its matches (T,)."""
    frames = np.flatnonzero(row != UNMATCHED).tolist()
    return [
        Switch(t, s, truth, int(row[s]), int(row[t]), categories[int(row[s])], categories[int(row[t])])
        for s, t in zip(frames, frames[1:], strict=False)
        if row[s] != row[t]
    ]


def _fragmentations(truth: int, row: np.ndarray, visible: np.ndarray) -> list[Fragmentation]:
    """The gaps in the matches (T,) of one object, in the frames it is `visible` (T,) in, between found frames."""
    frames = np.flatnonzero(visible)
    found = np.flatnonzero(row[frames] != UNMATCHED).tolist()
    return [
        Fragmentation(int(frames[a + 1]), int(frames[b]), truth)
        for a, b in zip(found, found[1:], strict=False)
        if b > a + 1
    ]
