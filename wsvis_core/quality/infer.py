"""Quality of every track of a result file, from the stored flow, class labels and the round before; no ground truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from wsvis_core.config import QualitySettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.json_input import read_entries
from wsvis_core.flow.load import FlowReader
from wsvis_core.progress import Progress
from wsvis_core.quality.calibration import BUILT_IN, Calibration, read_calibration
from wsvis_core.quality.files import FORMAT, frames_in_words
from wsvis_core.quality.parts import TrackParts, frame_agreements, pair_stabilities, track_parts
from wsvis_core.storage.files import write_json
from wsvis_core.storage.instance_shards import InstanceReader, open_instances
from wsvis_core.storage.shards import one_by_one
from wsvis_core.tracking.results import Result, entry_problems, problem_report

TARGET = "IoU of at least 0.5 with a true track of its class"
WHOLE_FRAME = 0.8  # share of a frame; chosen, not fitted
MOST_NAMED = 10
NO_PREVIOUS_ROUND = "agreement of rounds is not known: round 0 has no round before it"


def estimate_quality(
    dataset: VideoDataset,
    tracks: Path,
    flow: Sequence[Path],
    previous: Sequence[Path],
    settings: QualitySettings,
    output: Path,
) -> None:
    """Write the quality of every track, in the order of the result file, and the given classes that have none.

    previous: prediction shards of the round before on the same videos; none for round 0, which is noted in the file.
    Holds the tracks of one video and the masks of two frames at a time.
    """
    chosen = BUILT_IN if settings.calibration is None else Path(settings.calibration)
    calibration, flows = read_calibration(chosen), FlowReader(flow)
    instances = open_instances(previous) if previous else None
    progress = Progress("estimate_quality", total=len(dataset.split("val")), unit="video")
    rows: list[dict[str, Any]] = []
    numbers: Counter[int] = Counter()
    readers = [flows, instances] if instances else [flows]
    for video, entries in one_by_one(_by_video(tracks, dataset), *readers):
        for entry, parts in zip(entries, video_parts(video, entries, dataset, flows, instances), strict=True):
            numbers[video.id] += 1
            rows.append(_row(video, numbers[video.id], entry, parts, dataset, calibration))
        progress.advance(f"{len(entries)} tracks")
    progress.close()
    missing = not_found(dataset, {(row["video_id"], row["category_id"]) for row in rows})
    content = {
        "format": FORMAT,
        "target": TARGET,
        "calibration": "built-in" if settings.calibration is None else settings.calibration,
        "notes": [*([] if instances else [NO_PREVIOUS_ROUND]), *_missing(missing), *_whole_frames(rows)],
        "tracks": rows,
        "not_found": missing,
    }
    write_json(output, content, indent=1)


def video_parts(
    video: Video, entries: Sequence[Result], dataset: VideoDataset, flow: FlowReader, previous: InstanceReader | None
) -> list[TrackParts]:
    """Parts of some tracks of one video, in their order. Frames that are no pair for training are none here either."""
    masks = [entry["segmentations"] for entry in entries]
    classes = [dataset.class_index(entry["category_id"]) for entry in entries]
    pairs = enumerate(flow.pair_valid(video.id))
    flows = (flow.backward(video.id, t) if valid else None for t, valid in pairs)
    stability = pair_stabilities(masks, (video.height, video.width), flows)
    frames = (previous.frame(video.id, t) for t in range(len(video))) if previous is not None else None
    agreement = frame_agreements(masks, classes, frames)
    labels = dataset.class_labels(video)
    return [
        track_parts(entry["score"], entry["segmentations"], labels[:, classes[n]], stability[n], agreement[n])
        for n, entry in enumerate(entries)
    ]


def _row(
    video: Video, number: int, entry: Result, parts: TrackParts, dataset: VideoDataset, calibration: Calibration
) -> dict[str, Any]:
    return {
        "video_id": video.id,
        "video": video.name,
        "track": number,
        "category_id": entry["category_id"],
        "class": dataset.categories[dataset.class_index(entry["category_id"])].name,
        "estimate": calibration.estimate(parts.known()),
        "score": parts.score,
        "labels": parts.labels,
        "stability": parts.stability,
        "agreement": parts.agreement,
        "cover": parts.cover,
        "first_frame": parts.first,
        "last_frame": parts.last,
        "frames": parts.frames,
        "weakest_frame": parts.weakest,
    }


def not_found(dataset: VideoDataset, tracked: Collection[tuple[int, int]]) -> list[dict[str, Any]]:
    """The classes that given labels name (`VideoDataset.given_labels`) and no track has, by video and class.

    tracked: (video id, category id) of the tracks. Each with video_id, video, category_id, class and labelled, the
    ranges [first, last] of the frames with its label.
    """
    missing = []
    for video in dataset.split("val"):
        given = dataset.given_labels(video)
        for c in () if given is None else np.flatnonzero(given.any(axis=0)):
            category = dataset.categories[c]
            if (video.id, category.id) not in tracked:
                named = {"video_id": video.id, "video": video.name, "category_id": category.id, "class": category.name}
                missing.append(named | {"labelled": _ranges(np.flatnonzero(given[:, c]))})
    return missing


def _ranges(frames: np.ndarray) -> list[list[int]]:
    """Ascending frames as ranges without a gap, both ends in them."""
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [[int(part[0]), int(part[-1])] for part in parts]


def _missing(missing: Sequence[dict[str, Any]]) -> list[str]:
    """A note that names the classes without a track, if there are any."""
    named = [f"{row['class']} in {row['video']} ({frames_in_words(row['labelled'])})" for row in missing]
    return [f"labelled, not found: {_some(named)}"] if named else []


def _some(named: Sequence[str]) -> str:
    more = len(named) - MOST_NAMED
    return ", ".join(named[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _whole_frames(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A warning that names the tracks which hold nearly all of their frames, if there are any."""
    wide = [f"{row['video']} track {row['track']}" for row in rows if row["cover"] >= WHOLE_FRAME]
    if not wide:
        return []
    return [
        f"{len(wide)} of the tracks hold {WHOLE_FRAME:.0%} of their frames and more, most often the background taken "
        f"for the object. Their estimates mean little; look at them first: {_some(wide)}"
    ]


def _by_video(tracks: Path, dataset: VideoDataset) -> Iterator[tuple[Video, list[Result]]]:
    """Entries of a result file that follow each other and are of one video; WsvisError for one that does not fit."""
    entries = enumerate(read_entries(tracks, [], made_by="rule track_instances"), 1)
    checked = (_fitting(number, entry, tracks, dataset) for number, entry in entries)
    for video_id, some in groupby(checked, key=lambda entry: entry["video_id"]):
        yield dataset.video(video_id), list(some)


def _fitting(number: int, entry: Any, tracks: Path, dataset: VideoDataset) -> Result:
    problems = entry_problems(entry)
    if not problems:
        video, masks = dataset.video(entry["video_id"]), entry["segmentations"]
        size = [video.height, video.width]
        if len(masks) != len(video):
            problems = [f"{len(masks)} segmentations, but video {video.name} has {len(video)} frames"]
        elif not any(masks):
            problems = ["no frame has a mask"]
        elif any(mask is not None and list(mask["size"]) != size for mask in masks):
            problems = [f"masks of another size than the frames of video {video.name}, {size}"]
    if problems:
        raise WsvisError(problem_report(str(tracks), [f"result {number}: {problem}" for problem in problems]))
    return entry
