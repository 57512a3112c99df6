"""Gather the videos that the report shows, one at a time: a video's frames and flow would not all fit into memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsvis_core.cam.infer import CamReader
from wsvis_core.config import ReportSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.flow.load import FlowReader
from wsvis_core.storage.instance_shards import InstanceReader
from wsvis_core.storage.rle import Rle, decode_mask
from wsvis_core.tracking.overlap import rle_areas, rle_intersections
from wsvis_core.visualization.clips import ClipFacts, TrackFacts, make_clip
from wsvis_core.visualization.inputs import Clip, FrameColumn, Gallery, TrackMask, VideoStrip
from wsvis_core.visualization.videos_section import clip_data

Entries = dict[int, list[dict[str, Any]]]
PICTURE_VIDEOS = 4
QUALITY = {
    "mean IoU": "Mean IoU: of a video's true objects with the best track of their class, over all frames.",
    "mean score": "Mean score: of a video's tracks, as the network gives it.",
}


@dataclass(frozen=True)
class VideoLayers:
    """Open readers of everything a video shows; tracks and ground truth by video, the latter None without masks.

    estimates: (video id, number of a track) → estimate of its quality.
    """

    dataset: VideoDataset
    flow: FlowReader
    cams: CamReader
    pseudo_labels: InstanceReader
    predictions: InstanceReader
    tracks: Entries
    ground_truth: Entries | None
    estimates: Mapping[tuple[int, int], float]


def collect_gallery(layers: VideoLayers, settings: ReportSettings) -> Gallery:
    """Videos spread evenly over those whose layers were all made, one or more, within report.megabytes."""
    candidates = candidate_videos(layers)
    room = settings.megabytes * 1e6
    clips: list[Clip] = []
    for video in _spread(candidates, settings.videos):
        clip = _clip(layers, video, settings)
        room -= len(json.dumps(clip_data(clip))) + 4 / 3 * len(clip.cover)
        if room < 0 and clips:
            break
        clips.append(clip)
    name = "mean score" if layers.ground_truth is None else "mean IoU"
    videos = len(layers.dataset.split("val"))
    return Gallery(clips, videos, len(candidates), name, QUALITY[name], trained_on(layers.dataset))


def trained_on(dataset: VideoDataset) -> bool:
    """Whether the held-out videos are those of the training, as in `split: {mode: all}`."""
    return {video.id for video in dataset.split("val")} <= {video.id for video in dataset.split("train")}


def collect_strips(layers: VideoLayers, settings: ReportSettings) -> list[VideoStrip]:
    """The middle moment of the first of those videos, for the picture beside the page."""
    shown = _spread(candidate_videos(layers), settings.videos)[:PICTURE_VIDEOS]
    return [VideoStrip(video.name, [frame_column(layers, video, len(video) // 2)]) for video in shown]


def candidate_videos(layers: VideoLayers) -> list[Video]:
    """The held-out videos of the shard whose CAMs and pseudo-labels were made for the report."""
    return [video for video in layers.dataset.split("val") if video.id in layers.predictions]


def by_video(entries: Sequence[dict[str, Any]]) -> Entries:
    """Entries of a result file or a ground truth in the order of their numbers, by video."""
    groups: Entries = {}
    for entry in entries:
        groups.setdefault(entry["video_id"], []).append(entry)
    return groups


def mean_best_fit(tracks: Sequence[Mapping[str, Any]], truth: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean over the objects of a video of the IoU of their best track of the same category; None without an object.

    The IoU of two tracks is that of the VIS metrics (§5.4): Σ_t |a∩b| / Σ_t |a∪b|.
    """
    objects = [entry for entry in truth if not entry.get("iscrowd")]
    if not objects:
        return None
    fits = [
        max((_track_iou(found, entry) for found in tracks if found["category_id"] == entry["category_id"]), default=0.0)
        for entry in objects
    ]
    return float(np.mean(fits))


def _track_iou(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    shared = total = 0.0
    for a, b in zip(first["segmentations"], second["segmentations"], strict=True):
        areas_a, areas_b = rle_areas(_one(a)), rle_areas(_one(b))
        if a is not None and b is not None:
            shared += float(rle_intersections([a], [b], areas_a, areas_b)[0, 0])
        total += float(areas_a.sum() + areas_b.sum())
    return shared / (total - shared) if total > shared else 0.0


def _one(rle: Rle | None) -> list[Rle]:
    return [] if rle is None else [rle]


def _spread(videos: Sequence[Video], most: int) -> list[Video]:
    """At most `most` videos, evenly spread, the first among them."""
    places = np.linspace(0, len(videos), min(most, len(videos)), endpoint=False).astype(int)
    return [videos[place] for place in places]


def _clip(layers: VideoLayers, video: Video, settings: ReportSettings) -> Clip:
    """A video at evenly spaced moments, first and last among them; all of them if there are few enough."""
    count = min(settings.frames_per_video, len(video))
    moments = sorted({round(t) for t in np.linspace(0, len(video) - 1, count)})
    classes = np.flatnonzero(layers.dataset.class_labels(video).any(axis=0)).tolist()
    names = [category.name for category in layers.dataset.categories]
    labels = ", ".join(names[c] for c in classes) or "none"
    tracks = layers.tracks.get(video.id, [])
    labels += _missing(layers.dataset, video, classes, tracks)
    truth = None if layers.ground_truth is None else layers.ground_truth.get(video.id, [])
    frames = f"{len(video)} frame{'' if len(video) == 1 else 's'} of {video.width}×{video.height}"
    frames += f", {count} of them here" if count < len(video) else ""
    facts = ClipFacts(
        video_id=video.id,
        name=video.name,
        note=f"{frames}; classes: {labels}",
        length=len(video),
        classes=classes,
        quality=_mean_score(tracks) if truth is None else mean_best_fit(tracks, truth),
    )
    columns = (frame_column(layers, video, t) for t in moments)
    return make_clip(
        facts,
        columns,
        names,
        _track_facts(layers, tracks),
        None if truth is None else _track_facts(layers, truth),
        long_side=settings.long_side,
    )


def _missing(dataset: VideoDataset, video: Video, classes: Sequence[int], tracks: Sequence[Mapping[str, Any]]) -> str:
    """The given classes that no track of the video has, in words; nothing for a held-out video."""
    tracked = {entry["category_id"] for entry in tracks}
    missing = [dataset.categories[c] for c in classes if dataset.categories[c].id not in tracked]
    if not missing or dataset.given_labels(video) is None:
        return ""
    return f"; labelled, not found: {', '.join(category.name for category in missing)}"


def _mean_score(tracks: Sequence[Mapping[str, Any]]) -> float | None:
    return float(np.mean([entry["score"] for entry in tracks])) if tracks else None


def _track_facts(layers: VideoLayers, entries: Sequence[dict[str, Any]]) -> list[TrackFacts]:
    index = layers.dataset.class_index
    return [
        TrackFacts(
            number,
            index(entry["category_id"]),
            entry.get("score"),
            layers.estimates.get((entry["video_id"], number)) if "score" in entry else None,
        )
        for number, entry in enumerate(entries, start=1)
    ]


def frame_column(layers: VideoLayers, video: Video, t: int) -> FrameColumn:
    """Everything that frame t of a video shows."""
    cams = layers.cams.frame(video.id, t)
    names = [category.name for category in layers.dataset.categories]
    truth = None if layers.ground_truth is None else layers.ground_truth.get(video.id, [])
    return FrameColumn(
        index=t,
        frame=layers.dataset.read_frame(video, t),
        flow=layers.flow.next_flow_as_stored(video.id, t, (video.height, video.width)).flow.numpy(),
        cam=cams.high_res,
        cam_classes=[names[key] for key in cams.keys],
        pseudo_labels=layers.pseudo_labels.frame(video.id, t),
        predictions=layers.predictions.frame(video.id, t),
        tracks=list(_masks_at(layers, layers.tracks.get(video.id, []), t)),
        ground_truth=None if truth is None else list(_masks_at(layers, truth, t)),
    )


def _masks_at(layers: VideoLayers, entries: Sequence[dict[str, Any]], t: int) -> Iterator[TrackMask]:
    """The tracks or annotated objects that exist in frame t; ids count the video's entries from 1."""
    categories = layers.dataset.categories
    for number, entry in enumerate(entries, start=1):
        rle = entry["segmentations"][t]
        if rle is not None:
            name = categories[layers.dataset.class_index(entry["category_id"])].name
            yield TrackMask(number, name, entry.get("score"), decode_mask(rle))
