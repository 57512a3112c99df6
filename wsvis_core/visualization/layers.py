"""One layer of a video strip at a time: the moments of a video in, a row of pictures with captions out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization.inputs import FrameColumn, TrackMask, VideoStrip
from wsvis_core.visualization.maps import cam_overlay, check_flow, flow_to_rgb, flow_wheel, label_map_to_rgb
from wsvis_core.visualization.overlays import (
    check_frame,
    class_colours,
    draw_instances,
    draw_tracks,
    enlarge,
    hex_colour,
    track_colours,
)

LONG_SIDE = 320  # pixels of the longer side of an embedded picture, at most


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
    """One layer over time: key (for the page's switches), title, note, cells in time order (None: not made)."""

    key: str
    title: str
    cells: tuple[Cell | None, ...]
    note: str = ""
    items: tuple[Item, ...] = ()
    key_picture: np.ndarray | None = None


def layer_rows(strip: VideoStrip, class_names: Sequence[str]) -> list[Row]:
    """All layers that at least one moment of the strip has, in the order of the pipeline. No moment, no row."""
    builders: list[Callable[[], Row]] = [
        lambda: _frame_row(strip.columns),
        lambda: _flow_row(strip.columns),
        lambda: _cam_row(strip.columns, class_names),
        lambda: _label_map_row(strip.columns),
        lambda: _instance_row("pseudo", "Pseudo-label", strip.columns, class_names, "pseudo_labels"),
        lambda: _instance_row("prediction", "Prediction", strip.columns, class_names, "predictions"),
        lambda: _track_row("tracks", "Tracks", strip.columns, "tracks"),
        lambda: _track_row("truth", "Ground truth", strip.columns, "ground_truth"),
    ]
    for column in strip.columns:
        _check_column(strip.name, column)
    rows = [build() for build in builders]
    return [row for row in rows if any(cell is not None for cell in row.cells)]


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


def _check_column(video: str, column: FrameColumn) -> None:
    try:
        check_frame(column.frame)
        if column.flow is not None:
            check_flow(column.flow)
        if column.cam is not None:
            cam_channels(column)
    except WsvisError as error:
        raise WsvisError(f"video {video!r}, frame {column.index}: {error}") from None


def _base_scale(frame: np.ndarray) -> float:
    """1 for small frames (the page enlarges them), less for frames longer than LONG_SIDE."""
    return min(1.0, LONG_SIDE / max(frame.shape[:2]))


def overlay_scale(frame: np.ndarray) -> float:
    """Up to 2, so that a contour is thinner than a pixel of a small frame."""
    return min(2.0, LONG_SIDE / max(frame.shape[:2]))


def _frame_row(columns: Sequence[FrameColumn]) -> Row:
    cells = [Cell(enlarge(c.frame, _base_scale(c.frame)), f"frame {c.index}") for c in columns]
    return Row("frame", "Frame", tuple(cells))


def _flow_row(columns: Sequence[FrameColumn]) -> Row:
    flows = [column.flow for column in columns if column.flow is not None]
    # One scale for the whole video, from a high percentile: one broken pixel must not dim the rest. At least
    # one pixel, so that a still scene stays dark.
    magnitudes = [np.hypot(*np.nan_to_num(flow.astype(np.float32), posinf=0, neginf=0)) for flow in flows]
    largest = max([1.0, *(float(np.percentile(values, 99.5)) for values in magnitudes)])

    def cell(column: FrameColumn) -> Cell | None:
        if column.flow is None:
            return None
        picture, _ = flow_to_rgb(column.flow, largest)
        return Cell(enlarge(picture, _base_scale(picture)), f"optical flow of frame {column.index}")

    note = f"full colour {largest:.1f} px"
    return Row("flow", "Flow", tuple(map(cell, columns)), note, key_picture=flow_wheel(40))


def _cam_row(columns: Sequence[FrameColumn], class_names: Sequence[str]) -> Row:
    seen: dict[str, Item] = {}

    def cell(column: FrameColumn) -> Cell | None:
        if column.cam is None:
            return None
        names, cam = cam_channels(column)
        colours = class_colours([_class_index(name, class_names, i) for i, name in enumerate(names)])
        items = [Item(hex_colour(colour), name) for name, colour in zip(names, colours, strict=True)]
        seen.update({item.text: item for item in items})
        frame = enlarge(column.frame, _base_scale(column.frame))
        alt = f"class activation of frame {column.index}: {', '.join(names) or 'no class'}"
        return Cell(cam_overlay(frame, cam, colours), alt)

    cells = tuple(map(cell, columns))
    return Row("cam", "CAM", cells, "line at 0.5" if seen else "no class in these frames", tuple(seen.values()))


def _label_map_row(columns: Sequence[FrameColumn]) -> Row:
    def cell(column: FrameColumn) -> Cell | None:
        if column.label_map is None:
            return None
        frame = enlarge(column.frame, _base_scale(column.frame))
        return Cell(label_map_to_rgb(column.label_map, frame), f"label map of frame {column.index}")

    return Row("labels", "Label map", tuple(map(cell, columns)), "hatched: ignored")


def _instance_row(
    key: str, title: str, columns: Sequence[FrameColumn], class_names: Sequence[str], attribute: str
) -> Row:
    def cell(column: FrameColumn) -> Cell | None:
        instances = getattr(column, attribute)
        if instances is None:
            return None
        masks, classes, scores = instances_as_arrays(instances)
        colours = class_colours(classes.tolist())
        texts = [f"{class_name(c, class_names)} {_percent(s)}" for c, s in zip(classes, scores, strict=True)]
        items = [Item(hex_colour(colour), text) for colour, text in zip(colours, texts, strict=True)]
        picture = draw_instances(column.frame, masks, colours, scale=overlay_scale(column.frame))
        alt = f"{title.lower()} on frame {column.index}: {', '.join(texts) or 'no instance'}"
        return Cell(picture, alt, tuple(items))

    return Row(key, title, tuple(map(cell, columns)), "coloured by class")


def _track_row(key: str, title: str, columns: Sequence[FrameColumn], attribute: str) -> Row:
    def cell(column: FrameColumn) -> Cell | None:
        entries = getattr(column, attribute)
        if entries is None:
            return None
        tracks = [TrackMask(*entry) for entry in entries]
        ids = [track.track_id for track in tracks]
        masks = [track.mask for track in tracks]
        picture = draw_tracks(column.frame, ids, masks, scale=overlay_scale(column.frame))
        texts = [f"{track.track_id} {track.class_name}" for track in tracks]
        items = [Item(hex_colour(c), text) for c, text in zip(track_colours(ids), texts, strict=True)]
        alt = f"{title.lower()} on frame {column.index}: {', '.join(texts) or 'no track'}"
        return Cell(picture, alt, tuple(items))

    return Row(key, title, tuple(map(cell, columns)), "coloured by track")


def _class_index(name: str, class_names: Sequence[str], position: int) -> int:
    return list(class_names).index(name) if name in class_names else position


def class_name(index: int, class_names: Sequence[str]) -> str:
    return class_names[index] if 0 <= index < len(class_names) else f"class {index}"


def _percent(score: float) -> str:
    return f"{100 * float(score):.0f}"
