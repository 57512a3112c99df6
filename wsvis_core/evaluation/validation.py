"""The tracks of a result list; everything wrong with it is found before any number is computed (by entry and id)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.ground_truth import GroundTruth, check_ground_truth
from wsvis_core.evaluation.run_lengths import NO_CODE, SOUND, TrackCounts, plain_counts, track_counts
from wsvis_core.evaluation.track_iou import Masks, TrueShapes
from wsvis_core.tracking.results import entry_problems, problem_report

_SHAPES_KEPT = 64  # videos and categories: results come video by video, or nearly so
Problem = tuple[int, str]  # number of an entry, and what follows it in the report
Key = tuple[int, int]  # video id, category id


@dataclass(frozen=True)
class ResultTrack:
    """One track of a result list, as far as the metric needs it: its masks are let go.

    area: mean pixels of its masks that are not empty · ious: with the M true tracks of its video and category in their
    order, (M,) float64, 0 where too small for any matching (see `TrueShapes.ious`).
    """

    video_id: int
    category_id: int
    score: float
    area: float
    ious: np.ndarray


def checked(ground_truth: Any, results: Any) -> tuple[GroundTruth, list[ResultTrack]]:
    """The parsed ground truth and results, when both are right; else one WsvisError listing all problems."""
    truth, problems = check_ground_truth(ground_truth)
    tracks, found = check_results(results, truth)
    raise_problems("the evaluation input", problems + found)
    return truth, tracks


def raise_problems(name: str, problems: Sequence[str]) -> None:
    """A WsvisError with all problems, if there are any."""
    if problems:
        raise WsvisError(problem_report(name, problems))


def result_problems(results: Any, truth: GroundTruth) -> list[str]:
    """What breaks the format, and what does not fit the ground truth, one line each; entries count from 1."""
    return check_results(results, truth)[1]


def check_results(results: Any, truth: GroundTruth) -> tuple[list[ResultTrack], list[str]]:
    """The sound tracks of a result list, and everything wrong with the others, one line each; entries count from 1.

    results: a list, or an iterator over the entries of one that is too large to be held as it was written.
    """
    if isinstance(results, tuple):
        results = list(results)
    if not isinstance(results, list | Iterator):
        return [], [f"results must be a JSON list of tracks, not a {type(results).__name__}"]
    tracks, problems = ResultChecker(truth).check(results)
    return tracks, problem_lines(problems)


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """One line per problem."""
    return [f"result {number}{text}" for number, text in problems]


class ResultChecker:
    """Checks results against a ground truth and compares them with it, a few at a time."""

    def __init__(self, truth: GroundTruth) -> None:
        self._truth = truth
        self._true_masks: dict[Key, list[Masks]] = {}
        for track in truth.tracks:
            self._true_masks.setdefault((track.video_id, track.category_id), []).append(track.masks)
        self._shapes = lru_cache(_SHAPES_KEPT)(self._make_shapes)

    def check(self, entries: Iterable[Any]) -> tuple[list[ResultTrack], list[Problem]]:
        """The sound tracks among the entries, and everything wrong with the others; entries count from 1."""
        tracks: list[ResultTrack] = []
        problems: list[Problem] = []
        for number, entry in enumerate(entries, 1):
            track = self._track(entry)
            if isinstance(track, ResultTrack):
                tracks.append(track)
            else:
                problems += [(number, f"{_name(entry)}: {problem}") for problem in track]
        return tracks, problems

    def _track(self, entry: Any) -> ResultTrack | list[str]:
        """The track of an entry, or everything wrong with it."""
        counts = _plain_counts(entry, self._truth)
        masks = None if counts is None else counts.decode(self._pixels(entry))
        if masks is None or masks.worst == NO_CODE:
            if wrong := entry_problems(entry) or _mismatches(entry, self._truth):
                return wrong
            counts = track_counts(entry["segmentations"])
            masks = counts.decode(self._pixels(entry))
        if masks.worst != SOUND:
            frames = [counts.frames[i] for i in masks.wrong_totals]
            return [f"segmentations[{frame}] has run lengths that do not sum to its size" for frame in frames]
        key = int(entry["video_id"]), int(entry["category_id"])
        ious = self._shapes(key).ious(masks, counts.frames) if key in self._true_masks else np.zeros(0)
        area = int(masks.areas.sum()) / max(int(np.count_nonzero(masks.areas)), 1)
        return ResultTrack(*key, float(entry["score"]), area, ious)

    def _pixels(self, entry: dict[str, Any]) -> int:
        video = self._truth.videos[entry["video_id"]]
        return video.height * video.width

    def _make_shapes(self, key: Key) -> TrueShapes:
        video = self._truth.videos[key[0]]
        return TrueShapes(self._true_masks[key], video.length, video.height)


def _plain_counts(entry: Any, truth: GroundTruth) -> TrackCounts | None:
    """The counts of an entry with nothing unusual about it; None when it needs a closer look.

    Does in one pass what `entry_problems` and `_mismatches` do with words: a large file has millions of masks.
    """
    try:
        video, masks, score = truth.videos[entry["video_id"]], entry["segmentations"], entry["score"]
        usual = type(entry["video_id"]) is type(entry["category_id"]) is int and type(score) in (float, int)
        usual = usual and entry["category_id"] in truth.categories and type(masks) is list
        if not (usual and math.isfinite(score) and len(masks) == video.length):
            return None
    except (TypeError, KeyError, AttributeError, OverflowError):
        return None
    return plain_counts(masks, video.height, video.width)


def _name(entry: Any) -> str:
    if not isinstance(entry, dict):
        return ""
    return f" (video {entry.get('video_id')!r}, category {entry.get('category_id')!r})"


def _mismatches(entry: dict[str, Any], truth: GroundTruth) -> list[str]:
    problems = []
    if entry["category_id"] not in truth.categories:
        problems.append("there is no such category")
    video = truth.videos.get(entry["video_id"])
    if video is None:
        return [*problems, "there is no such video"]
    masks = entry["segmentations"]
    if len(masks) != video.length:
        problems.append(f"{len(masks)} segmentations, but the video has {video.length} frames")
    expected = [video.height, video.width]
    return problems + [
        f"segmentations[{frame}] has size {list(mask['size'])}, but the video's frames are {expected}"
        for frame, mask in enumerate(masks)
        if mask is not None and list(mask["size"]) != expected
    ]
