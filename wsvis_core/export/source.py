"""What is exported: the tracks of a result file beside the videos of their data set, checked against each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from wsvis_core.datasets.video import VideoDataset
from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.ground_truth import GroundTruth, TruthVideo, check_ground_truth
from wsvis_core.evaluation.validation import result_problems
from wsvis_core.quality.files import read_estimates
from wsvis_core.storage.files import read_json
from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.overlap import rle_areas
from wsvis_core.tracking.results import load_result_file, problem_report

Result = dict[str, Any]
_SCORE_ROUNDING = 1e-4  # tables have four decimals


@dataclass(frozen=True)
class ExportVideo:
    """A video: frame size in pixels, T file names, a folder name that no other has, the id of its first image.

    Images are numbered from 1 over all videos of the data set by id, chosen or not: two exports agree on them.
    """

    id: int
    folder: str
    height: int
    width: int
    file_names: tuple[str, ...]
    first_image: int

    def __len__(self) -> int:
        return len(self.file_names)


@dataclass(frozen=True)
class ExportTrack:
    """A track: number from 1 within its video, T masks or None; at least one mask, and none of them empty.

    quality: estimated probability that it is right (docs/quality.md), None where no table of them was given.
    """

    number: int
    category_id: int
    score: float
    masks: tuple[Rle | None, ...]
    quality: float | None = None

    @property
    def present(self) -> tuple[int, ...]:
        """Indices of the frames with a mask, ascending."""
        return tuple(t for t, mask in enumerate(self.masks) if mask is not None)


@dataclass(frozen=True)
class ExportSource:
    """Categories {id: name} by id, the chosen videos by id, and their tracks by video id in the file's order.

    left_out: entries of the chosen videos with score and quality enough, but without a mask.
    """

    categories: dict[int, str]
    videos: tuple[ExportVideo, ...]
    tracks: dict[int, tuple[ExportTrack, ...]]
    left_out: int


def load_source(
    results: Path,
    dataset: Path,
    *,
    videos: Sequence[str] | None = None,
    min_score: float | None = None,
    quality: Path | None = None,
    min_quality: float | None = None,
) -> ExportSource:
    """The tracks of a result file with score ≥ min_score and quality ≥ min_quality, and the videos they belong to.

    dataset: the folder (or its videos.json) that prepare_dataset wrote, or a YouTube-VIS annotation file, of which the
    annotations are not read · videos: ids or names; by default all of an annotation file, the held-out ones and all
    with results of a prepared data set · quality: the table of rule publish_quality for this result file. A mask
    without a pixel is an absence, a track without masks is left out. Raises WsvisError with everything that is wrong in
    the data set, or does not fit in the results or the table.
    """
    categories, known, held_out = read_dataset(dataset)
    entries = load_result_file(results)
    sizes = {video.id: TruthVideo(video.id, video.height, video.width, len(video)) for video in known}
    problems = result_problems(entries, GroundTruth(sizes, categories, ()))
    if problems:
        raise WsvisError(problem_report(f"result file {results}, held against data set {dataset},", problems))
    wanted = held_out | {entry["video_id"] for entry in entries} if videos is None else _ids(videos, known, dataset)
    chosen = tuple(video for video in known if video.id in wanted)
    entries = _with_quality(entries, quality)
    kept = [entry for entry in entries if min_score is None or entry["score"] >= min_score]
    kept = [entry for entry in kept if min_quality is None or entry["quality"] >= min_quality]
    tracks = {video.id: _tracks(video.id, kept) for video in chosen}
    asked = sum(entry["video_id"] in tracks for entry in kept)
    return ExportSource(categories, chosen, tracks, asked - sum(map(len, tracks.values())))


def _with_quality(entries: Sequence[Result], table: Path | None) -> list[Result]:
    """The entries, each with its `quality` from a table, None without one; tracks count from 1 within their video."""
    if table is None:
        return [entry | {"quality": None} for entry in entries]
    estimates, numbers = read_estimates(table), Counter[int]()
    found, problems = [], []
    for entry in entries:
        numbers[entry["video_id"]] += 1
        number, video = numbers[entry["video_id"]], entry["video_id"]
        known = estimates.pop((video, number), None)
        if known is None:
            problems.append(f"no row for track {number} of video {video}")
        elif abs(known.score - entry["score"]) > _SCORE_ROUNDING:
            here = f"{entry['score']:.4f} in the results"
            problems.append(f"track {number} of video {video} has score {known.score:.4f} there and {here}")
        else:
            found.append(entry | {"quality": known.estimate})
    problems += [f"a row of which the results have no track: {track} of video {video}" for video, track in estimates]
    if problems:
        raise WsvisError(problem_report(f"table {table}, which must be of the same run as the result file,", problems))
    return found


def read_dataset(path: Path) -> tuple[dict[int, str], tuple[ExportVideo, ...], set[int]]:
    """Categories, all videos by id, and the ids exported by default, of a prepared data set or an annotation file."""
    if path.is_dir() or path.name == "videos.json":
        dataset = VideoDataset.load(path if path.is_dir() else path.parent)
        names = {video.id: tuple(frame.file_name for frame in video.frames) for video in dataset.videos}
        sizes = {video.id: TruthVideo(video.id, video.height, video.width, len(video)) for video in dataset.videos}
        categories = {category.id: category.name for category in dataset.categories}
        return categories, _videos(sizes, names), {video.id for video in dataset.split("val")}
    truth, names = _read_annotations(path)
    return truth.categories, _videos(truth.videos, names), set(truth.videos)


def _read_annotations(path: Path) -> tuple[GroundTruth, dict[int, tuple[str, ...]]]:
    content = read_json(path, made_by="your data set (a YouTube-VIS annotation file, or prepare_dataset)")
    if isinstance(content, dict):
        content = {**content, "annotations": []}
    truth, problems = check_ground_truth(content)
    names: dict[int, tuple[str, ...]] = {}
    for entry in [] if problems else content["videos"]:
        given = entry.get("file_names")
        if isinstance(given, list) and given and all(isinstance(name, str) and name for name in given):
            names[entry["id"]] = tuple(given)
        else:
            problems.append(f"video {entry['id']}: file_names must be a list with the name of every frame's file")
    if problems:
        raise WsvisError(problem_report(f"data set {path}", problems))
    return truth, names


def _videos(sizes: dict[int, TruthVideo], names: dict[int, tuple[str, ...]]) -> tuple[ExportVideo, ...]:
    videos, first, taken = [], 1, set()
    for video in (sizes[key] for key in sorted(sizes)):
        folder = _folder_name(names[video.id], video.id, taken)
        taken.add(folder)
        videos.append(ExportVideo(video.id, folder, video.height, video.width, names[video.id], first))
        first += video.length
    return tuple(videos)


def _folder_name(file_names: Sequence[str], video_id: int, taken: Collection[str]) -> str:
    """The last folder of the frame files, safe as a name of a file; with the id where two videos share it."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", PurePosixPath(file_names[0]).parent.name).lstrip(".")
    if not name or name in taken:
        name = f"{name or 'video'}_{video_id}"
    while name in taken:
        name += "_"
    return name


def _ids(wanted: Sequence[str], known: Sequence[ExportVideo], dataset: Path) -> set[int]:
    by_name = {video.folder: video.id for video in known} | {str(video.id): video.id for video in known}
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        some = ", ".join(f"{video.id} ({video.folder})" for video in known[:10]) + (", …" if len(known) > 10 else "")
        raise WsvisError(f"--video {' '.join(unknown)}: no such id or name among the {len(known)} of {dataset}: {some}")
    return {by_name[name] for name in wanted}


def _tracks(video_id: int, entries: Sequence[Result]) -> tuple[ExportTrack, ...]:
    tracks: list[ExportTrack] = []
    for entry in entries:
        if entry["video_id"] == video_id:
            masks = _without_empty(entry["segmentations"])
            if any(mask is not None for mask in masks):
                category, score = int(entry["category_id"]), float(entry["score"])
                tracks.append(ExportTrack(len(tracks) + 1, category, score, masks, entry["quality"]))
    return tuple(tracks)


def _without_empty(masks: Sequence[Rle | None]) -> tuple[Rle | None, ...]:
    given = [mask for mask in masks if mask is not None]
    areas = iter(rle_areas(given))
    return tuple(mask if mask is not None and next(areas) > 0 else None for mask in masks)
