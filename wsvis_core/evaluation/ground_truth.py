"""Ground truth in the YouTube-VIS format, checked and with all masks as compressed RLE (docs/method.md §5.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.run_lengths import NO_CODE, plain_counts, track_counts
from wsvis_core.evaluation.track_iou import Masks
from wsvis_core.storage.files import read_json
from wsvis_core.storage.rle import Rle, to_compressed_rle
from wsvis_core.tracking.results import problem_report, rle_problem


@dataclass(frozen=True)
class TruthVideo:
    """One annotated video: its id, frame size in pixels and number of frames."""

    id: int
    height: int
    width: int
    length: int


@dataclass(frozen=True)
class TruthTrack:
    """One annotated object: masks T RLEs or None · areas (T,) float64 in pixels, as annotated where they are given (the
    official evaluator puts a track in its area range by them), 0 where absent."""

    id: int
    video_id: int
    category_id: int
    crowd: bool
    masks: Masks
    areas: np.ndarray


@dataclass(frozen=True)
class GroundTruth:
    """Videos and category names by id, ascending; tracks in the file's order."""

    videos: dict[int, TruthVideo]
    categories: dict[int, str]
    tracks: tuple[TruthTrack, ...]


def read_ground_truth(path: Path) -> dict[str, Any]:
    """The content of a ground truth file, unchecked."""
    return read_json(path, made_by="your data set (a YouTube-VIS annotation file)")


def has_masks(ground_truth: Mapping[str, Any]) -> bool:
    """False for a set with class labels alone (kind: folder), whose `annotations` are null."""
    return ground_truth.get("annotations", ()) is not None


def restrict_ground_truth(ground_truth: dict[str, Any], video_ids: Collection[int]) -> dict[str, Any]:
    """The same ground truth with some of its videos only; all categories stay.

    Raises WsvisError for a video id that is not in it.
    """
    wanted = {int(v) for v in video_ids}
    missing = sorted(wanted - {video["id"] for video in ground_truth["videos"]})
    if missing:
        raise WsvisError(f"videos {missing} are not in the ground truth; check the split and the annotation file")
    return {
        **ground_truth,
        "videos": [video for video in ground_truth["videos"] if video["id"] in wanted],
        "annotations": [track for track in ground_truth["annotations"] if track["video_id"] in wanted],
    }


def parse_ground_truth(ground_truth: Any) -> GroundTruth:
    """Checked ground truth; WsvisError with all problems otherwise."""
    truth, problems = check_ground_truth(ground_truth)
    if problems:
        raise WsvisError(problem_report("the ground truth", problems))
    return truth


def check_ground_truth(ground_truth: Any) -> tuple[GroundTruth, list[str]]:
    """What can be read of a ground truth, and everything wrong with it, one line each."""
    keys = ("videos", "categories", "annotations")
    if not isinstance(ground_truth, dict):
        return GroundTruth({}, {}, ()), ["ground truth must be an object with " + ", ".join(keys)]
    if not has_masks(ground_truth):
        return GroundTruth({}, {}, ()), [
            "ground truth has no masks (its 'annotations' are null): nothing to compare with"
        ]
    problems = [f"ground truth needs a list {key!r}" for key in keys if not isinstance(ground_truth.get(key), list)]
    if problems:
        return GroundTruth({}, {}, ()), problems
    for key, name in zip(keys, ("video", "category", "annotation"), strict=True):
        problems += _id_problems(ground_truth[key], name)
    videos = _videos(ground_truth["videos"], problems)
    categories = {int(c["id"]): str(c.get("name", c["id"])) for c in ground_truth["categories"] if _has_id(c)}
    entries = [a for a in ground_truth["annotations"] if _has_id(a)]
    tracks = [track for a in entries if (track := _track(a, videos, categories, problems)) is not None]
    return GroundTruth(dict(sorted(videos.items())), dict(sorted(categories.items())), tuple(tracks)), problems


def _id_problems(entries: list[Any], name: str) -> list[str]:
    found = [entry.get("id") if isinstance(entry, dict) else None for entry in entries]
    bad = [
        f"{name} number {n}: id must be a whole number from 1, not {value!r}"
        for n, (value, entry) in enumerate(zip(found, entries, strict=True), 1)
        if not _has_id(entry)
    ]
    counts = Counter(entry["id"] for entry in entries if _has_id(entry))
    return bad + [f"{name} {value}: this id occurs {n} times" for value, n in counts.items() if n > 1]


def _has_id(entry: Any) -> bool:
    return isinstance(entry, dict) and _is_count(entry.get("id"))


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _videos(entries: list[Any], problems: list[str]) -> dict[int, TruthVideo]:
    videos = {}
    for entry in entries:
        if not _has_id(entry):
            continue
        names = entry.get("file_names")
        length = entry.get("length", len(names) if isinstance(names, list) else None)
        values = {"height": entry.get("height"), "width": entry.get("width"), "length": length}
        wrong = {key: value for key, value in values.items() if not _is_count(value)}
        problems += [
            f"video {entry['id']}: {key} must be a whole number from 1, not {value!r}" for key, value in wrong.items()
        ]
        if isinstance(names, list) and _is_count(length) and len(names) != length:
            problems.append(f"video {entry['id']}: length is {length}, but it has {len(names)} file_names")
        if not wrong:
            videos[int(entry["id"])] = TruthVideo(int(entry["id"]), *(int(v) for v in values.values()))
    return videos


def _track(
    entry: dict[str, Any], videos: dict[int, TruthVideo], categories: dict[int, str], problems: list[str]
) -> TruthTrack | None:
    """The track of an annotation; None, with its problems noted, when it cannot be used."""
    name = f"annotation {entry['id']}"
    found = [
        f"{name}: {key} {entry.get(key)!r} is not among the {what}"
        for key, known, what in (("video_id", videos, "videos"), ("category_id", categories, "categories"))
        if not _known(entry.get(key), known)
    ]
    if entry.get("iscrowd", 0) not in (0, 1):
        found.append(f"{name}: iscrowd must be 0 or 1, not {entry['iscrowd']!r}")
    masks = entry.get("segmentations")
    if not isinstance(masks, list):
        found.append(f"{name}: segmentations must be a list with one entry per frame")
    if found:
        problems += found
        return None
    video = videos[entry["video_id"]]
    compressed, areas, found = _compress(masks, video, name)
    annotated, area_problems = _annotated_areas(entry, video.length, name)
    problems += found + area_problems
    if found or area_problems:
        return None
    areas = areas if annotated is None else annotated
    crowd = bool(entry.get("iscrowd", 0))
    return TruthTrack(int(entry["id"]), video.id, int(entry["category_id"]), crowd, compressed, areas)


def _known(value: Any, known: Collection[int]) -> bool:
    return _is_count(value) and value in known


def _compress(masks: list[Any], video: TruthVideo, name: str) -> tuple[Masks, np.ndarray, list[str]]:
    """The masks as compressed RLEs, their areas (T,) in pixels, and everything wrong with them, one line each."""
    none = np.zeros(video.length)
    if len(masks) != video.length:
        return [], none, [f"{name}: {len(masks)} segmentations, but video {video.id} has {video.length} frames"]
    counts, pixels = plain_counts(masks, video.height, video.width), video.height * video.width
    decoded = None if counts is None else counts.decode(pixels)
    if decoded is None or decoded.worst == NO_CODE:  # not the ordinary case: mask by mask
        masks, problems = _compress_each(masks, video, name)
        if problems:
            return [], none, problems
        counts = track_counts(masks)
        decoded = counts.decode(pixels)
    areas = none
    areas[counts.frames] = decoded.areas
    wrong = [counts.frames[i] for i in decoded.wrong_totals]
    problem = "has run lengths that do not sum to its size"
    return masks, areas, [f"{name}: segmentations[{frame}] {problem}" for frame in wrong]


def _compress_each(masks: list[Any], video: TruthVideo, name: str) -> tuple[list[Rle | None], list[str]]:
    compressed: list[Rle | None] = []
    problems = []
    for frame, mask in enumerate(masks):
        problem = None if mask is None else _mask_problem(mask)
        if problem is None and isinstance(mask, dict) and list(mask["size"]) != [video.height, video.width]:
            problem = f"has size {list(mask['size'])}, not [{video.height}, {video.width}]"
        if problem is None and mask is not None:
            try:
                compressed.append(to_compressed_rle(mask, video.height, video.width))
            except ValueError as error:
                problem = str(error)
        else:
            compressed.append(None)
        if problem:
            problems.append(f"{name}: segmentations[{frame}] {problem}")
    return compressed, problems


def _mask_problem(mask: Any) -> str | None:
    if isinstance(mask, list):
        return None if mask and all(_is_polygon(part) for part in mask) else "is not a list of polygons"
    if isinstance(mask, dict) and isinstance(mask.get("counts"), list):
        counts_ok = all(isinstance(v, Integral) and not isinstance(v, bool) for v in mask["counts"])
        size = mask.get("size")
        size_ok = isinstance(size, list) and len(size) == 2
        return None if counts_ok and size_ok else "is not an uncompressed RLE"
    return rle_problem(mask)


def _is_polygon(part: Any) -> bool:
    # Far outside of any frame, pycocotools fills the memory with the outline.
    numbers = isinstance(part, list) and all(isinstance(v, Real) and abs(v) < 1e5 for v in part)
    return numbers and len(part) >= 6 and len(part) % 2 == 0


def _annotated_areas(entry: dict[str, Any], length: int, name: str) -> tuple[np.ndarray | None, list[str]]:
    """The areas an annotation names, 0 for null; None where it has none."""
    given = entry.get("areas")
    if given is None:
        return None, []
    numbers = isinstance(given, list) and all(v is None or (isinstance(v, Real) and 0 <= v < np.inf) for v in given)
    if not numbers or len(given) != length:
        return None, [f"{name}: areas must be {length} numbers from 0, or null"]
    return np.array([v or 0.0 for v in given], np.float64), []
