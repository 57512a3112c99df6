"""The tracks of a result list; everything wrong with it is found before any number is computed (by entry and id)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.ground_truth import GroundTruth, check_ground_truth
from wsvis_core.evaluation.run_lengths import MaskRuns, TrackCounts, decode_runs, plain_counts, track_counts
from wsvis_core.evaluation.track_iou import Masks, TrueShapes, mean_areas, tracks_of
from wsvis_core.tracking.results import entry_problems, problem_report

_SHAPES_KEPT = 64  # videos and categories: results come video by video, or nearly so
_BATCH = 16  # entries whose run lengths are decoded together: arrays that stay in cache
Problem = tuple[int, str]  # number of an entry, and what follows it in the report
Key = tuple[int, int]  # video id, category id


@dataclass(frozen=True)
class ResultTrack:
    """One track of a result list, as far as the metric needs it: its masks are let go.

    area: mean pixels of its masks · ious: with the M true tracks of its video and category in their order, (M,)
    float64, 0 where too small for any matching (see `TrueShapes.ious`).
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
        for batch in _batches(enumerate(entries, 1)):
            tracks += self._check_batch(batch, problems)
        return tracks, problems

    def _check_batch(self, batch: Sequence[tuple[int, Any]], problems: list[Problem]) -> list[ResultTrack]:
        """The sound tracks among numbered entries; notes the problems of the others in order."""
        found: dict[int, list[str]] = {}
        counts: dict[int, TrackCounts] = {}
        for number, entry in batch:
            plain = _plain_counts(entry, self._truth)
            if plain is None and not (wrong := entry_problems(entry) or _mismatches(entry, self._truth)):
                plain = track_counts(entry["segmentations"])
            if plain is None:
                found[number] = wrong
            else:
                counts[number] = plain
        sound = [(number, entry) for number, entry in batch if number in counts]
        tracks = self._tracks(sound, counts, found)
        problems += [(n, f"{_name(entry)}: {problem}") for n, entry in batch for problem in found.get(n, ())]
        return tracks

    def _tracks(
        self, batch: Sequence[tuple[int, Any]], counts: dict[int, TrackCounts], found: dict[int, list[str]]
    ) -> list[ResultTrack]:
        """The tracks of entries in order; notes those with masks whose runs do not fill the frame in `found`."""
        runs, first = _decode([counts[number] for number, _ in batch])
        videos = [self._truth.videos[entry["video_id"]] for _, entry in batch]
        owners = np.repeat(np.arange(len(batch)), np.diff(first))
        pixels = np.array([video.height * video.width for video in videos], np.int64)
        for i in runs.wrong(pixels[owners]).tolist():
            number = batch[owners[i]][0]
            frame = counts[number].frames[i - first[owners[i]]]
            problem = f"segmentations[{frame}] has run lengths that do not sum to its size"
            found.setdefault(number, []).append(problem)
        groups: dict[Key, list[int]] = {}
        for k, (number, entry) in enumerate(batch):
            if number not in found:
                groups.setdefault((int(entry["video_id"]), int(entry["category_id"])), []).append(k)
        made: dict[int, ResultTrack] = {}
        for key, members in groups.items():
            video = self._truth.videos[key[0]]
            masks = np.full((len(members), video.length), -1)
            for row, k in zip(masks, members, strict=True):
                row[counts[batch[k][0]].frames] = np.arange(first[k], first[k + 1])
            tracks = tracks_of(runs, masks, video.height, video.width)
            ious = self._shapes(key).ious(tracks) if key in self._true_masks else np.zeros((len(members), 0))
            for k, area, row in zip(members, mean_areas(tracks.areas).tolist(), ious, strict=True):
                made[k] = ResultTrack(*key, float(batch[k][1]["score"]), area, row)
        return [made[k] for k in sorted(made)]

    def _make_shapes(self, key: Key) -> TrueShapes:
        video = self._truth.videos[key[0]]
        return TrueShapes(self._true_masks[key], video.length, video.height, video.width)


def _batches(entries: Iterable[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
    entries = iter(entries)
    while batch := list(islice(entries, _BATCH)):
        yield batch


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


def _decode(counts: Sequence[TrackCounts]) -> tuple[MaskRuns, np.ndarray]:
    """The runs of all masks of N entries, and where each entry's begin, (N+1,) int64."""
    lengths = [length for one in counts for length in one.lengths]
    first = np.cumsum([0, *(len(one.lengths) for one in counts)])
    return decode_runs(b"".join(one.text for one in counts), lengths), first


def _name(entry: Any) -> str:
    if not isinstance(entry, dict):
        return ""
    return f" (video {entry.get('video_id')!r}, category {entry.get('category_id')!r})"


def _mismatches(entry: dict[str, Any], truth: GroundTruth) -> list[str]:
    problems = []
    if entry["category_id"] not in truth.categories:
        problems.append("the ground truth has no such category")
    video = truth.videos.get(entry["video_id"])
    if video is None:
        return [*problems, "the ground truth has no such video"]
    masks = entry["segmentations"]
    if len(masks) != video.length:
        problems.append(f"{len(masks)} segmentations, but the video has {video.length} frames")
    expected = [video.height, video.width]
    return problems + [
        f"segmentations[{frame}] has size {list(mask['size'])}, but the video's frames are {expected}"
        for frame, mask in enumerate(masks)
        if mask is not None and list(mask["size"]) != expected
    ]
