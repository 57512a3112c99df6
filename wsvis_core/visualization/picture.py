"""One picture of a run: a row per video, a column per layer. For a README, a slide or a quick look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from wsvis_core.storage.files import atomic_path
from wsvis_core.visualization.inputs import ReportInputs, VideoStrip
from wsvis_core.visualization.layers import Row, layer_rows

CELL_WIDTH, GAP, TITLE_HEIGHT = 200, 4, 22
BACKGROUND, INK = 255, (40, 40, 40)


def write_picture(inputs: ReportInputs, output: Path, *, videos: int = 4) -> None:
    """Write a JPEG of the middle moment of the first videos; a run without videos gives an empty sheet."""
    strips = [strip for strip in inputs.strips if strip.columns][:videos]
    sheet = contact_sheet([_middle(strip) for strip in strips], inputs.class_names)
    encoded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    with atomic_path(output) as temporary:
        temporary.write_bytes(encoded.tobytes())


def contact_sheet(strips: Sequence[VideoStrip], class_names: Sequence[str]) -> np.ndarray:
    """uint8 (H,W,3) RGB: the first moment of every strip as a row of its layers, layer names on top.

    Layers are those of the first strip; a layer that another strip lacks is left blank there.
    """
    if not strips:
        return np.full((TITLE_HEIGHT, CELL_WIDTH, 3), BACKGROUND, np.uint8)
    tables = [{row.key: row for row in layer_rows(strip, class_names)} for strip in strips]
    keys = list(tables[0])
    height, width = strips[0].columns[0].frame.shape[:2]
    size = (CELL_WIDTH, max(1, round(CELL_WIDTH * height / width)))
    rows = [_join([_cell(table.get(key), size) for key in keys], axis=1) for table in tables]
    titles = _join([_title(tables[0][key].title) for key in keys], axis=1)
    return _join([titles, *rows], axis=0)


def _middle(strip: VideoStrip) -> VideoStrip:
    return replace(strip, columns=[strip.columns[len(strip.columns) // 2]])


def _cell(row: Row | None, size: tuple[int, int]) -> np.ndarray:
    picture = row.pictures[0] if row is not None else None
    if picture is None:
        return np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _title(text: str) -> np.ndarray:
    strip = np.full((TITLE_HEIGHT, CELL_WIDTH, 3), BACKGROUND, np.uint8)
    return cv2.putText(strip, text, (2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)


def _join(parts: Sequence[np.ndarray], *, axis: int) -> np.ndarray:
    """Parts side by side (axis 1) or below each other (axis 0), with a gap between."""
    shape = list(parts[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, BACKGROUND, np.uint8)
    spaced = [item for part in parts for item in (gap, part)][1:]
    return np.concatenate(spaced, axis=axis)
