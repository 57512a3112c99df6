"""The layers of a moment of a video as pictures, a row per layer; and coloured captions under pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization.inputs import FrameColumn, TrackMask, VideoStrip
from wsvis_core.visualization.maps import cam_overlay, check_flow, flow_to_rgb, label_map_to_rgb
from wsvis_core.visualization.markup import escape
from wsvis_core.visualization.overlays import check_frame, class_colours, draw_instances, draw_tracks, enlarge

LONG_SIDE = 320  # pixels of the longer side of an embedded picture, at most
SHOWN_SCORE = 0.3


@dataclass(frozen=True)
class Item:
    """One coloured entry of a caption: CSS colour and text."""

    colour: str
    text: str


@dataclass(frozen=True)
class Cell:
    """One picture uint8 (H,W,3), what it shows in words, and its caption entries."""

    picture: np.ndarray
    alt: str
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Row:
    """One layer over time: key, title, pictures uint8 (H,W,3) in time order (None: not made)."""

    key: str
    title: str
    pictures: tuple[np.ndarray | None, ...]


def layer_rows(strip: VideoStrip, class_names: Sequence[str]) -> list[Row]:
    """All layers that at least one moment of the strip has, in the order of the pipeline. No moment, no row."""
    columns = strip.columns
    for column in columns:
        check_column(strip.name, column)
    largest = flow_scale([column.flow for column in columns if column.flow is not None])

    def row(key: str, title: str, draw: Callable[[FrameColumn], np.ndarray | None]) -> Row:
        return Row(key, title, tuple(map(draw, columns)))

    rows = [
        row("frame", "Frame", lambda column: enlarge(column.frame, _base_scale(column.frame))),
        row("flow", "Flow", lambda column: _flow(column, largest)),
        row("cam", "CAM", lambda column: _cam(column, class_names)),
        row("labels", "Label map", _label_map),
        row("pseudo", "Pseudo-label", lambda column: _instances(column, column.pseudo_labels)),
        row("prediction", "Prediction", lambda column: _instances(column, column.predictions)),
        row("tracks", "Tracks", lambda column: _tracks(column, column.tracks)),
        row("truth", "Ground truth", lambda column: _tracks(column, column.ground_truth)),
    ]
    return [row for row in rows if any(picture is not None for picture in row.pictures)]


def instances_as_arrays(instances: EncodedInstances | InstanceSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(masks bool (N,H,W), classes int64 (N,), scores float32 (N,)) on the CPU, best score first."""
    decoded = instances.decode() if isinstance(instances, EncodedInstances) else instances.to("cpu")
    scores = decoded.scores.numpy()
    order = np.argsort(-scores, kind="stable")
    return decoded.masks.numpy()[order], decoded.classes.numpy()[order], scores[order]


def cam_channels(column: FrameColumn) -> tuple[list[str], np.ndarray]:
    """Names of the K channels and the CAM float32 (K,h,w) of a moment; K = 0 for an empty one."""
    cam = column.cam
    if isinstance(cam, Mapping):
        names, maps = list(cam), [np.asarray(value, np.float32) for value in cam.values()]
        return names, np.stack(maps) if maps else np.zeros((0, 1, 1), np.float32)
    array = np.asarray(cam, np.float32)
    if array.ndim != 3 or len(array) != len(column.cam_classes):
        raise WsvisError(
            f"its CAM has shape {array.shape} for {len(column.cam_classes)} class names; expected (K,h,w) with K names"
        )
    return list(column.cam_classes), array


def strong(scores: Sequence[float | None]) -> np.ndarray:
    """Which of N instances a small picture shows: bool (N,), those from SHOWN_SCORE on, at least the best; None counts.

    A sheet of everything would be covered by the network's weakest guesses, which are often as large as the frame.
    """
    known = np.array([1.0 if score is None else score for score in scores], np.float64)
    return known >= min(SHOWN_SCORE, known.max(initial=0.0))


def strong_tracks(entries: Sequence[TrackMask]) -> list[TrackMask]:
    """The tracks of a moment that a small picture shows."""
    tracks = [TrackMask(*entry) for entry in entries]
    shown = strong([track.score for track in tracks])
    return [track for track, keep in zip(tracks, shown, strict=True) if keep]


def check_column(video: str, column: FrameColumn) -> None:
    """Nothing, or a WsvisError that names video and frame where a picture of the moment cannot be drawn."""
    try:
        check_frame(column.frame)
        if column.flow is not None:
            check_flow(column.flow)
        if column.cam is not None:
            cam_channels(column)
    except WsvisError as error:
        raise WsvisError(f"video {video!r}, frame {column.index}: {error}") from None


def flow_scale(flows: Sequence[np.ndarray]) -> float:
    """The magnitude in pixels that full colour stands for in a video: N flows (2,h,w), N may be 0.

    From a high percentile, as one broken pixel must not dim the rest. At least one pixel, so that a still scene stays
    dark.
    """
    magnitudes = [np.hypot(*np.nan_to_num(flow.astype(np.float32), posinf=0, neginf=0)) for flow in flows]
    return max([1.0, *(float(np.percentile(values, 99.5)) for values in magnitudes)])


def overlay_scale(frame: np.ndarray) -> float:
    """Up to 2, so that a contour is thinner than a pixel of a small frame."""
    return min(2.0, LONG_SIDE / max(frame.shape[:2]))


def class_index(name: str, class_names: Sequence[str], position: int) -> int:
    """The index of a class, or `position` for a name that is none of them."""
    return list(class_names).index(name) if name in class_names else position


def class_name(index: int, class_names: Sequence[str]) -> str:
    """The name of a class index, known or not."""
    return class_names[index] if 0 <= index < len(class_names) else f"class {index}"


def items_html(items: Sequence[Item], more: int = 0) -> str:
    """Caption entries as a list of coloured dots, and how many more there are; an empty text for no entry."""
    if not items:
        return ""
    entries = "".join(f'<li style="--dot:{item.colour}">{escape(item.text)}</li>' for item in items)
    rest = f"<li>+{more}</li>" if more > 0 else ""
    return f'<ul class="dots">{entries}{rest}</ul>'


def _base_scale(frame: np.ndarray) -> float:
    """1 for small frames (the page enlarges them), less for frames longer than LONG_SIDE."""
    return min(1.0, LONG_SIDE / max(frame.shape[:2]))


def _flow(column: FrameColumn, largest: float) -> np.ndarray | None:
    if column.flow is None:
        return None
    picture, _ = flow_to_rgb(column.flow, largest)
    return enlarge(picture, _base_scale(picture))


def _cam(column: FrameColumn, class_names: Sequence[str]) -> np.ndarray | None:
    if column.cam is None:
        return None
    names, cam = cam_channels(column)
    colours = class_colours([class_index(name, class_names, i) for i, name in enumerate(names)])
    return cam_overlay(enlarge(column.frame, _base_scale(column.frame)), cam, colours)


def _label_map(column: FrameColumn) -> np.ndarray | None:
    if column.label_map is None:
        return None
    return label_map_to_rgb(column.label_map, enlarge(column.frame, _base_scale(column.frame)))


def _instances(column: FrameColumn, instances: EncodedInstances | InstanceSet | None) -> np.ndarray | None:
    if instances is None:
        return None
    masks, classes, scores = instances_as_arrays(instances)
    shown = strong(scores.tolist())
    colours = class_colours(classes[shown].tolist())
    return draw_instances(column.frame, masks[shown], colours, scale=overlay_scale(column.frame))


def _tracks(column: FrameColumn, entries: Sequence[TrackMask] | None) -> np.ndarray | None:
    if entries is None:
        return None
    tracks = strong_tracks(entries)
    ids, masks = [track.track_id for track in tracks], [track.mask for track in tracks]
    return draw_tracks(column.frame, ids, masks, scale=overlay_scale(column.frame))
