"""Everything wrong with a result list, found before any number is computed (one report, by entry and id)."""

from __future__ import annotations

from typing import Any

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.ground_truth import GroundTruth, check_ground_truth
from wsvis_core.evaluation.run_lengths import wrong_totals
from wsvis_core.tracking.results import entry_problems, problem_report


def checked(ground_truth: Any, results: Any) -> GroundTruth:
    """The parsed ground truth, when it and the results are right; else one WsvisError listing all problems."""
    truth, problems = check_ground_truth(ground_truth)
    problems += result_problems(results, truth)
    if problems:
        raise WsvisError(problem_report("the evaluation input", problems))
    return truth


def result_problems(results: Any, truth: GroundTruth) -> list[str]:
    """What breaks the format, and what does not fit the ground truth, one line each; entries count from 1."""
    if not isinstance(results, list):
        return [f"results must be a JSON list of tracks, not a {type(results).__name__}"]
    problems: list[str] = []
    sound: list[int] = []
    for number, entry in enumerate(results):
        found = entry_problems(entry) or _mismatches(entry, truth)
        problems += [f"{_name(number, entry)}: {problem}" for problem in found]
        if not found:
            sound.append(number)
    return problems + _total_problems(results, sound)


def _name(number: int, entry: Any) -> str:
    if not isinstance(entry, dict):
        return f"result {number + 1}"
    return f"result {number + 1} (video {entry.get('video_id')!r}, category {entry.get('category_id')!r})"


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


def _total_problems(results: list[Any], sound: list[int]) -> list[str]:
    places = [(n, t) for n in sound for t, mask in enumerate(results[n]["segmentations"]) if mask is not None]
    wrong = wrong_totals([results[n]["segmentations"][t] for n, t in places])
    return [
        f"{_name(places[i][0], results[places[i][0]])}: segmentations[{places[i][1]}] has run lengths "
        "that do not sum to its size"
        for i in wrong
    ]
