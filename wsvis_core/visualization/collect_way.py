"""Gather the way from label to track of every video, one at a time, and pictures of the worst of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from wsvis_core.config import ReportSettings
from wsvis_core.datasets.video import Video
from wsvis_core.quality.parts import pair_stabilities
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import Rle
from wsvis_core.storage.shards import one_by_one
from wsvis_core.tracking.overlap import rle_areas, rle_ious
from wsvis_core.visualization.collect_videos import VideoLayers, candidate_videos, frame_column, trained_on
from wsvis_core.visualization.inputs import VideoStrip
from wsvis_core.visualization.layers import layer_rows, strong
from wsvis_core.visualization.markup import jpeg
from wsvis_core.visualization.overlays import enlarge
from wsvis_core.visualization.way import (
    ClassSteps,
    FoundTrack,
    VideoWay,
    Way,
    WayMoment,
    class_way,
    worst_moments,
)

MOMENTS = 3  # of a video
LONG_SIDE = 240  # pixels of the longer side of a picture, at most
ROOM = 0.25  # of report.megabytes, beside the player's
LAYERS = ("cam", "pseudo", "prediction", "tracks")
Quality = Mapping[tuple[int, int], Mapping[str, Any]]


def collect_way(
    layers: VideoLayers,
    quality: Mapping[str, Any] | None,
    choice: Mapping[str, Any] | None,
    settings: ReportSettings,
) -> Way | None:
    """The way of every video whose layers were made, worst first; None where held-out videos have ground truth.

    quality: a quality.json · choice: a route.json.
    """
    if layers.ground_truth is not None and not trained_on(layers.dataset):
        return None
    rows = {} if quality is None else {(row["video_id"], row["track"]): row for row in quality["tracks"]}
    readers = (layers.flow, layers.pseudo_labels, layers.predictions)
    found = [_video(layers, rows, video) for video in one_by_one(candidate_videos(layers), *readers)]
    ranked = sorted(found, key=lambda way: way.rank)
    return Way(_with_pictures(layers, ranked, settings), len(layers.dataset.split("val")), choice)


def _video(layers: VideoLayers, quality: Quality, video: Video) -> VideoWay:
    steps = [(class_way(found), found) for found in _steps(layers, quality, video)]
    steps.sort(key=lambda pair: pair[0].rank)
    # Classes take turns, so that each has a frame.
    turns = chain.from_iterable(zip_longest(*(worst_moments(found) for _, found in steps)))
    return VideoWay(video.id, video.name, [way for way, _ in steps], _first_of_each(turns))


def _first_of_each(moments: Iterator[WayMoment | None]) -> list[WayMoment]:
    """The first different frames, in time order, each with its first reason."""
    found: dict[int, WayMoment] = {}
    for moment in moments:
        if moment is not None and len(found) < MOMENTS:
            found.setdefault(moment.frame, moment)
    return [found[t] for t in sorted(found)]


def _steps(layers: VideoLayers, quality: Quality, video: Video) -> list[ClassSteps]:
    """What each step made of every class that the labels of a video name."""
    given = layers.dataset.class_labels(video)
    classes = np.flatnonzero(given.any(axis=0)).tolist()
    frames = layers.pseudo_labels.video(video.id) if classes else []
    predictions = layers.predictions.video(video.id) if classes else []
    labels = [[_own(frame, c) for frame in frames] for c in classes]
    joined = [[_together(rles) for rles in of_class] for of_class in labels]
    steadiness = _steadiness(layers, video, joined)
    return [
        ClassSteps(
            layers.dataset.categories[c].name,
            given[:, c],
            labels[k],
            [_own(frame, c, strong_ones=True) for frame in predictions],
            _covers(joined[k], video),
            steadiness[k],
            _best_track(layers, quality, video, c),
        )
        for k, c in enumerate(classes)
    ]


def _own(frame: EncodedInstances, category: int, *, strong_ones: bool = False) -> list[Rle]:
    """Masks of one class; of predictions those that a small picture shows, as the weakest guesses fit anything."""
    chosen = np.flatnonzero(frame.classes == category)
    if strong_ones:
        chosen = chosen[strong(frame.scores[chosen].tolist())]
    return [frame.rles[k] for k in chosen]


def _together(rles: Sequence[Rle]) -> Rle | None:
    """All pixels of some masks, None for none."""
    if not rles:
        return None
    merged = coco_mask.merge(list(rles))
    text = merged["counts"]
    return {"size": list(merged["size"]), "counts": text.decode("ascii") if isinstance(text, bytes) else text}


def _covers(masks: Sequence[Rle | None], video: Video) -> np.ndarray:
    pixels = video.height * video.width
    return np.array([0.0 if mask is None else float(rle_areas([mask])[0]) / pixels for mask in masks])


def _steadiness(layers: VideoLayers, video: Video, masks: Sequence[Sequence[Rle | None]]) -> np.ndarray:
    """IoU of masks with those of the next frame → (classes, T-1); pairs of frames too far apart are not known.

    Carried along the flow or as they are, whichever agrees better: a wrong flow is no fault of the labels.
    """
    if not any(mask is not None for of_class in masks for mask in of_class):
        return np.full((len(masks), max(len(video) - 1, 0)), np.nan)
    pairs = enumerate(layers.flow.pair_valid(video.id))
    flows = (layers.flow.backward(video.id, t) if valid else None for t, valid in pairs)
    return np.maximum(pair_stabilities(masks, (video.height, video.width), flows), _plain_ious(masks))


def _plain_ious(masks: Sequence[Sequence[Rle | None]]) -> np.ndarray:
    """IoU of masks with those of the next frame as they are → (classes, T-1); 0 where one is missing."""
    return np.array(
        [[_iou(a, b) for a, b in zip(of_class, of_class[1:], strict=False)] for of_class in masks], np.float64
    )


def _iou(first: Rle | None, second: Rle | None) -> float:
    return 0.0 if first is None or second is None else float(rle_ious([first], [second])[0, 0])


def _best_track(layers: VideoLayers, quality: Quality, video: Video, category: int) -> FoundTrack | None:
    """The track of a class with the best estimate; without estimates that with the best score."""
    found = []
    for number, entry in enumerate(layers.tracks.get(video.id, []), start=1):
        if layers.dataset.class_index(entry["category_id"]) == category:
            row = quality.get((video.id, number), {})
            estimate = row.get("estimate")
            track = FoundTrack(number, entry["segmentations"], estimate, row.get("weakest_frame"))
            found.append((-1.0 if estimate is None else estimate, entry["score"], track))
    return max(found, key=lambda item: item[:2])[2] if found else None


def _with_pictures(layers: VideoLayers, ways: Sequence[VideoWay], settings: ReportSettings) -> list[VideoWay]:
    """The same videos; the first report.videos have pictures as long as there is room, one at least."""
    room, shown = settings.megabytes * 1e6 * ROOM, []
    for way in islice(ways, settings.videos):
        moments = [_drawn(layers, way, moment) for moment in way.moments]
        room -= 4 / 3 * sum(len(picture) for moment in moments for picture in moment.pictures.values())
        if room < 0 and shown:
            break
        shown.append(replace(way, moments=moments))
    return [*shown, *ways[len(shown) :]]


def _drawn(layers: VideoLayers, way: VideoWay, moment: WayMoment) -> WayMoment:
    """A moment with its pictures."""
    video, names = layers.dataset.video(way.video_id), [category.name for category in layers.dataset.categories]
    column = replace(frame_column(layers, video, moment.frame), flow=None, ground_truth=None)
    rows = {row.key: row for row in layer_rows(VideoStrip(way.name, [column]), names)}
    found = {rows[key].title: rows[key].pictures[0] for key in LAYERS if key in rows}
    pictures = {title: _reduced(picture) for title, picture in found.items() if picture is not None}
    size = max((picture.shape[:2] for picture in pictures.values()), default=(0, 0))
    return replace(moment, size=size, pictures={title: jpeg(picture) for title, picture in pictures.items()})


def _reduced(picture: np.ndarray) -> np.ndarray:
    return enlarge(picture, min(1.0, LONG_SIDE / max(picture.shape[:2])))
