"""The tracks of a result list; everything wrong with it is found before any number is computed (by entry and id)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.ground_truth import GroundTruth, check_ground_truth
from wsvis_core.evaluation.run_lengths import run_totals
from wsvis_core.tracking.results import COUNTS_ALPHABET, entry_problems, problem_report

_BATCH = 128  # entries whose run lengths are summed together
Counts = Sequence[bytes | None]


@dataclass(frozen=True)
class ResultTrack:
    """One track of a result list: compressed RLE counts or None per frame, areas (T,) float64 in pixels, 0 for None.

    counts is empty where the ground truth has nothing of this video and category to compare with; so a large result
    list is held by its areas for the most part.
    """

    video_id: int
    category_id: int
    score: float
    counts: Counts
    areas: np.ndarray


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
    compared = {(track.video_id, track.category_id) for track in truth.tracks}
    tracks: list[ResultTrack] = []
    problems: list[str] = []
    for batch in _batches(enumerate(results, 1)):
        tracks += _check_batch(batch, truth, compared, problems)
    return tracks, problems


def _batches(entries: Iterable[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
    entries = iter(entries)
    while batch := list(islice(entries, _BATCH)):
        yield batch


def _check_batch(
    batch: Sequence[tuple[int, Any]], truth: GroundTruth, compared: set[tuple[int, int]], problems: list[str]
) -> list[ResultTrack]:
    """The sound tracks among numbered entries; notes the problems of the others in order."""
    found: dict[int, list[str]] = {}
    counts: dict[int, Counts] = {}
    for number, entry in batch:
        plain = _plain_counts(entry, truth)
        if plain is None and not (wrong := entry_problems(entry) or _mismatches(entry, truth)):
            plain = [_as_bytes(mask) for mask in entry["segmentations"]]
        if plain is None:
            found[number] = wrong
        else:
            counts[number] = plain
    areas = _areas(batch, counts, truth, found)
    problems += [f"{_name(n, entry)}: {problem}" for n, entry in batch for problem in found.get(n, ())]
    return [_track(entry, counts[n], areas[n], compared) for n, entry in batch if n not in found]


def _plain_counts(entry: Any, truth: GroundTruth) -> list[bytes | None] | None:
    """The counts of an entry with nothing unusual about it; None when it needs a closer look.

    Does in one pass what `entry_problems` and `_mismatches` do with words: a large file has millions of masks.
    """
    try:
        video, masks, score = truth.videos[entry["video_id"]], entry["segmentations"], entry["score"]
        usual = type(entry["video_id"]) is type(entry["category_id"]) is int and type(score) in (float, int)
        usual = usual and entry["category_id"] in truth.categories and type(masks) is list
        if not (usual and math.isfinite(score) and len(masks) == video.length):
            return None
        size = [video.height, video.width]
        counts: list[bytes | None] = []
        for mask in masks:
            if mask is not None and mask["size"] != size:
                return None
            counts.append(None if mask is None else mask["counts"].encode("ascii"))
    except (TypeError, KeyError, AttributeError, UnicodeEncodeError, OverflowError):
        return None
    present = [text for text in counts if text is not None]
    # A text ends with a number: its last character says that no more follow.
    ended = all(text and text[-1] < 80 for text in present)
    return None if not ended or b"".join(present).translate(None, COUNTS_ALPHABET) else counts


def _as_bytes(mask: dict[str, Any] | None) -> bytes | None:
    counts = None if mask is None else mask["counts"]
    return counts.encode("ascii") if isinstance(counts, str) else counts


def _areas(
    batch: Sequence[tuple[int, Any]],
    counts: dict[int, Counts],
    truth: GroundTruth,
    found: dict[int, list[str]],
) -> dict[int, np.ndarray]:
    """Pixels per frame of the entries that have counts; notes masks whose runs do not fill the frame in `found`."""
    videos = {number: truth.videos[entry["video_id"]] for number, entry in batch if number in counts}
    places = [(n, t) for n, texts in counts.items() for t, text in enumerate(texts) if text is not None]
    totals = run_totals([counts[n][t] for n, t in places])
    pixels = np.array([videos[n].height * videos[n].width for n, _ in places], np.int64)
    for i in totals.wrong(pixels).tolist():
        number, frame = places[i]
        problem = f"segmentations[{frame}] has run lengths that do not sum to its size"
        found.setdefault(number, []).append(problem)
    areas = {number: np.zeros(video.length) for number, video in videos.items()}
    for (number, frame), area in zip(places, totals.areas.tolist(), strict=True):
        areas[number][frame] = area
    return areas


def _track(entry: dict[str, Any], counts: Counts, areas: np.ndarray, compared: set[tuple[int, int]]) -> ResultTrack:
    video, category = int(entry["video_id"]), int(entry["category_id"])
    kept = counts if (video, category) in compared else ()
    return ResultTrack(video, category, float(entry["score"]), kept, areas)


def _name(number: int, entry: Any) -> str:
    if not isinstance(entry, dict):
        return f"result {number}"
    return f"result {number} (video {entry.get('video_id')!r}, category {entry.get('category_id')!r})"


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
