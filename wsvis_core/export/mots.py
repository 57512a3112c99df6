"""MOTS: one number per pixel, class id · 1000 + number of the instance, as PNG or as text with masks.

Both forbid overlaps: a pixel goes to the track with the highest score, of equals to the first in the result file.
Frames count from 0, as in KITTI MOTS.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.export.source import ExportSource, ExportTrack, ExportVideo
from wsvis_core.storage.rle import decode_mask, encode_mask

INSTANCES_PER_CLASS = 1000
LARGEST = 2**16 - 1


def write_mots_png(source: ExportSource, folder: Path) -> str:
    """Write instances/<video>/<frame>.png (uint16, 0 = background) of every frame, and instances/labels.txt.

    Line n of labels.txt names class id n; ids that the data set lacks are `unused_n`. Says what was written.
    """
    root = folder / "instances"
    root.mkdir()
    (root / "labels.txt").write_text("".join(name + "\n" for name in label_names(source)), encoding="utf-8")
    hidden = 0
    for video in source.videos:
        (root / video.folder).mkdir()
        for t, (ids, covered) in enumerate(id_maps(video, source.tracks[video.id])):
            hidden += covered
            done, data = cv2.imencode(".png", ids)
            if not done:
                raise WsvisError(f"video {video.id}, frame {t}: the PNG could not be encoded")
            (root / video.folder / f"{t:06d}.png").write_bytes(data.tobytes())
    frames = sum(len(video) for video in source.videos)
    return f"instances/: {frames} frames of {len(source.videos)} videos; {hidden} pixels under another mask left out"


def write_mots_text(source: ExportSource, folder: Path) -> str:
    """Write <video>.txt: lines `frame object_id class_id height width rle`, by frame, then by object id.

    object_id = class id · 1000 + instance; a video without masks has an empty file. Says what was written.
    """
    lines = hidden = 0
    for video in source.videos:
        with open(folder / f"{video.folder}.txt", "w", encoding="ascii") as stream:
            for t, (ids, covered) in enumerate(id_maps(video, source.tracks[video.id])):
                hidden += covered
                for value in np.unique(ids[ids > 0]).tolist():
                    rle = encode_mask(ids == value)["counts"]
                    class_id = value // INSTANCES_PER_CLASS
                    stream.write(f"{t} {value} {class_id} {video.height} {video.width} {rle}\n")
                    lines += 1
    return f"{len(source.videos)} text files: {lines} masks; {hidden} pixels under another mask left out"


def id_maps(video: ExportVideo, tracks: tuple[ExportTrack, ...]) -> Iterator[tuple[np.ndarray, int]]:
    """Frame by frame: ids (H,W) uint16, and the number of mask pixels that went to another mask."""
    values = [object_id(video, track) for track in tracks]
    # Painted from the lowest score up; of equals the first comes last and stays.
    order = sorted(range(len(tracks)), key=lambda n: (tracks[n].score, -n))
    for t in range(len(video)):
        ids = np.zeros((video.height, video.width), np.uint16)
        painted = 0
        for n in order:
            rle = tracks[n].masks[t]
            if rle is not None:
                mask = decode_mask(rle)
                ids[mask] = values[n]
                painted += int(mask.sum())
        yield ids, painted - int(np.count_nonzero(ids))


def object_id(video: ExportVideo, track: ExportTrack) -> int:
    """class id · 1000 + number; WsvisError where that is not possible in 16 bits."""
    value = track.category_id * INSTANCES_PER_CLASS + track.number
    if track.number >= INSTANCES_PER_CLASS or value > LARGEST:
        raise WsvisError(
            f"video {video.id}, track {track.number} of category {track.category_id}: MOTS holds class id · 1000 + "
            f"track number (below 1000) in 16 bits, at most {LARGEST}; raise --min-score or renumber the categories"
        )
    return value


def label_names(source: ExportSource) -> list[str]:
    """Names of the classes 1, 2, … up to the largest id."""
    last = max(source.categories, default=0)
    return [source.categories.get(key, f"unused_{key}") for key in range(1, last + 1)]
