"""One video as the page's player shows it: pictures as JPEG and WebP, masks as run lengths that the page paints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import decode_mask, encode_mask
from wsvis_core.visualization.inputs import Clip, ClipMark, ClipTrack, FrameColumn, TrackMask
from wsvis_core.visualization.layers import (
    LONG_SIDE,
    cam_channels,
    check_column,
    class_index,
    flow_scale,
    strong_tracks,
)
from wsvis_core.visualization.maps import flow_to_rgb
from wsvis_core.visualization.overlays import class_colours, draw_tracks, enlarge, resize_mask

# Dense maps are smooth: at half the size of the frames they look the same and take a third of the bytes.
MAP_SCALE = 0.5
PICTURE_QUALITY, MAP_QUALITY, COVER_QUALITY = 80, 80, 78
CAM_WEIGHT = 0.8
MOST_INSTANCES = 20
Layer = TypeVar("Layer")


@dataclass(frozen=True)
class ClipFacts:
    """What is known of a video beside its moments; fields as in `Clip`."""

    video_id: int
    name: str
    note: str
    length: int
    classes: Sequence[int] = ()
    quality: float | None = None


@dataclass(frozen=True)
class TrackFacts:
    """One track or annotated object: number from 1, class index, score or None, estimate of its quality or None."""

    number: int
    class_index: int
    score: float | None
    estimate: float | None = None


def make_clip(
    facts: ClipFacts,
    columns: Iterable[FrameColumn],
    class_names: Sequence[str],
    tracks: Sequence[TrackFacts] | None,
    truth: Sequence[TrackFacts] | None,
    *,
    long_side: int,
) -> Clip:
    """Encode a video at the moments `columns` (one or more, read one at a time), at most `long_side` pixels long.

    tracks, truth: of the whole video, None where there are none to show; their masks are the columns' `tracks` and
    `ground_truth`, by number. A layer is in the clip where every moment has it.

    Raises WsvisError naming video and frame when a picture's shape or type cannot be drawn.
    """
    moments = []
    for column in columns:
        check_column(facts.name, column)
        moments.append(_Moment.of(column, class_names, long_side))
    flows = [moment.flow for moment in moments if moment.flow is not None]
    largest = flow_scale(flows)
    cover = max(moments, key=lambda moment: (len(moment.tracks or {}), -abs(moment.index - facts.length // 2)))
    return Clip(
        video_id=facts.video_id,
        name=facts.name,
        note=facts.note,
        size=moments[0].size,
        length=facts.length,
        frames=[moment.index for moment in moments],
        pictures=[moment.picture for moment in moments],
        flow=[_jpeg(flow_to_rgb(flow, largest)[0], MAP_QUALITY) for flow in flows]
        if len(flows) == len(moments)
        else None,
        full_flow=largest,
        cam=_whole([moment.cam for moment in moments]),
        cam_classes=[moment.cam_classes for moment in moments],
        pseudo_labels=_whole([moment.pseudo_labels for moment in moments]),
        predictions=_whole([moment.predictions for moment in moments]),
        tracks=None if tracks is None else _tracks(tracks, [moment.tracks or {} for moment in moments]),
        truth=None if truth is None else _tracks(truth, [moment.truth or {} for moment in moments]),
        classes=facts.classes,
        quality=facts.quality,
        cover=cover.cover,
    )


@dataclass(frozen=True)
class _Moment:
    """One moment, encoded but for its flow, whose colours depend on the whole video."""

    index: int
    size: tuple[int, int]
    picture: bytes
    cover: bytes
    flow: np.ndarray | None
    cam: bytes | None
    cam_classes: list[int]
    pseudo_labels: list[ClipMark] | None
    predictions: list[ClipMark] | None
    tracks: dict[int, str] | None
    truth: dict[int, str] | None

    @classmethod
    def of(cls, column: FrameColumn, class_names: Sequence[str], long_side: int) -> _Moment:
        frame = enlarge(column.frame, min(1.0, long_side / max(column.frame.shape[:2])))
        size = (frame.shape[0], frame.shape[1])
        cam, keys = (None, []) if column.cam is None else _cam(column, class_names, size)
        return cls(
            index=column.index,
            size=size,
            picture=_jpeg(frame, PICTURE_QUALITY),
            cover=_cover(column),
            flow=None if column.flow is None else _reduced_flow(column.flow, size),
            cam=cam,
            cam_classes=keys,
            pseudo_labels=_marks(column.pseudo_labels, size),
            predictions=_marks(column.predictions, size),
            tracks=_masks(column.tracks, size),
            truth=_masks(column.ground_truth, size),
        )


def _whole(layer: Sequence[Layer | None]) -> list[Layer] | None:
    """A layer that every moment has, else None."""
    found = [value for value in layer if value is not None]
    return found if len(found) == len(layer) else None


def _tracks(facts: Sequence[TrackFacts], moments: Sequence[dict[int, str]]) -> list[ClipTrack]:
    return [
        ClipTrack(
            fact.number, fact.class_index, fact.score, [found.get(fact.number) for found in moments], fact.estimate
        )
        for fact in facts
    ]


def _cover(column: FrameColumn) -> bytes:
    """The moment with its better tracks, without numbers: at the size of a card they would cover the masks."""
    shown = strong_tracks(column.tracks or ())
    scale = min(2.0, LONG_SIDE / max(column.frame.shape[:2]))
    ids, masks = [entry.track_id for entry in shown], [entry.mask for entry in shown]
    return _jpeg(draw_tracks(column.frame, ids, np.array(masks), with_ids=False, scale=scale), COVER_QUALITY)


def _reduced_flow(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The flow float32 (2,h,w) at MAP_SCALE of a size, values as they are: pixels of the video's own frames."""
    finite = np.nan_to_num(flow.astype(np.float32), posinf=0, neginf=0)
    return np.stack([cv2.resize(part, _map_size(size), interpolation=cv2.INTER_AREA) for part in finite])


def _cam(column: FrameColumn, class_names: Sequence[str], size: tuple[int, int]) -> tuple[bytes, list[int]]:
    """The CAM as a WebP with opacity, and its class indices."""
    names, cam = cam_channels(column)
    keys = [class_index(name, class_names, i) for i, name in enumerate(names)]
    wide, tall = _map_size(size)
    picture = np.zeros((tall, wide, 4), np.uint8)
    if keys:
        finite = np.nan_to_num(cam, nan=0.0, posinf=1.0, neginf=0.0)
        maps = np.stack([cv2.resize(channel, (wide, tall), interpolation=cv2.INTER_AREA) for channel in finite])
        picture[..., :3] = class_colours(keys)[maps.argmax(axis=0)]
        picture[..., 3] = np.round(255 * CAM_WEIGHT * np.clip(maps.max(axis=0), 0, 1))
    encoded = cv2.imencode(".webp", picture[..., [2, 1, 0, 3]], [cv2.IMWRITE_WEBP_QUALITY, MAP_QUALITY])[1]
    return encoded.tobytes(), keys


def _map_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a dense map, as OpenCV wants it."""
    height, width = size
    return max(1, round(width * MAP_SCALE)), max(1, round(height * MAP_SCALE))


def _marks(instances: EncodedInstances | InstanceSet | None, size: tuple[int, int]) -> list[ClipMark] | None:
    """The best-scoring instances whose masks still have a pixel at this size."""
    if instances is None:
        return None
    encoded = instances if isinstance(instances, EncodedInstances) else EncodedInstances.encode(instances)
    best = np.argsort(-encoded.scores, kind="stable")[:MOST_INSTANCES].tolist()
    found = [(k, resize_mask(decode_mask(encoded.rles[k]), *size)) for k in best]
    return [
        ClipMark(int(encoded.classes[k]), float(encoded.scores[k]), encode_mask(mask)["counts"])
        for k, mask in found
        if mask.any()
    ]


def _masks(entries: Sequence[TrackMask] | None, size: tuple[int, int]) -> dict[int, str] | None:
    """Track number → mask at this size, where it has a pixel."""
    if entries is None:
        return None
    found = {number: resize_mask(mask, *size) for number, _, _, mask in entries}
    return {number: encode_mask(mask)["counts"] for number, mask in found.items() if mask.any()}


def _jpeg(picture: np.ndarray, quality: int) -> bytes:
    """A picture uint8 (H,W,3) RGB as a JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)[1].tobytes()
