"""A generated set of the size of YouTube-VIS 2019, in its layout: 2,883 videos, 40 categories, about 27 frames each.

Only what a stage's cost depends on is like the real one. Pictures are tiny and few (hard links to one texture at 64
places); one to three ellipses or rectangles cross each video, with masks as uncompressed run lengths.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wsvis_core.datasets.youtube_vis import YOUTUBE_VIS_2019_NAMES

VIDEOS, STRIDE, DISTINCT = 2883, 5, 64
HEIGHT, WIDTH = 36, 64
CATEGORIES = len(YOUTUBE_VIS_2019_NAMES)
FRAMES = (18, 36)  # least and most per video


@dataclass(frozen=True)
class Thing:
    """One object of a video: category id, masks (T,H,W) bool, all False where it is not seen."""

    category_id: int
    masks: np.ndarray


def length_of(video: int) -> int:
    """Number of annotated frames of a video; ids begin at 1."""
    return int(np.random.default_rng([video, 0]).integers(FRAMES[0], FRAMES[1], endpoint=True))


def things_of(video: int) -> list[Thing]:
    """The objects of a video. The first one's category goes round, so that every category has videos to spare."""
    generator, length = np.random.default_rng([video, 1]), length_of(video)
    categories = [(video - 1) % CATEGORIES, *generator.integers(0, CATEGORIES, generator.integers(0, 3))]
    return [Thing(int(c) + 1, _moving_shape(length, generator)) for c in categories]


def _moving_shape(length: int, generator: np.random.Generator) -> np.ndarray:
    middle = generator.uniform((8, 12), (HEIGHT - 8, WIDTH - 12))
    step = generator.uniform(-0.8, 0.8, 2)
    radius = generator.uniform((5, 6), (11, 15))
    power = generator.choice([2, 20])  # ellipse or rectangle
    t = np.arange(length)[:, None, None]
    y = np.abs(np.arange(HEIGHT)[None, :, None] - middle[0] - step[0] * t) / radius[0]
    x = np.abs(np.arange(WIDTH)[None, None, :] - middle[1] - step[1] * t) / radius[1]
    masks = y**power + x**power <= 1
    if length > 6 and generator.random() < 0.3:
        gone = generator.integers(1, length - 4)
        masks[gone : gone + 3] = False
    return masks


def write_set(root: Path, videos: int, pictures: Path) -> None:
    """Write `train.json` and `train/JPEGImages` for the first `videos` videos; pictures: where the JPEGs are shared."""
    shared = _pictures(pictures)
    entries, annotations = [], []
    for video in range(1, videos + 1):
        folder, length = f"rehearsal_{video:04d}", length_of(video)
        place = root / "train" / "JPEGImages" / folder
        place.mkdir(parents=True)
        for t in range(length):
            os.link(shared[(video + t) % DISTINCT], place / f"{t * STRIDE:05d}.jpg")
        names = [f"{folder}/{t * STRIDE:05d}.jpg" for t in range(length)]
        entries.append({"id": video, "width": WIDTH, "height": HEIGHT, "length": length, "file_names": names})
        annotations += [
            {
                "id": len(annotations) + n,
                "video_id": video,
                "category_id": thing.category_id,
                "iscrowd": 0,
                "length": length,
                "segmentations": [_uncompressed(mask) for mask in thing.masks],
            }
            for n, thing in enumerate(things_of(video), 1)
        ]
    categories = [{"id": n, "name": name} for n, name in enumerate(YOUTUBE_VIS_2019_NAMES, 1)]
    content = {"videos": entries, "categories": categories, "annotations": annotations}
    (root / "train.json").write_text(json.dumps(content))


def _pictures(folder: Path) -> list[Path]:
    """A texture seen from 64 places, one pixel apart."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT // 2, (WIDTH + DISTINCT) // 2, 3), dtype=np.uint8)
    texture = cv2.resize(noise, (WIDTH + DISTINCT, HEIGHT), interpolation=cv2.INTER_CUBIC)
    paths = [folder / f"{n:02d}.jpg" for n in range(DISTINCT)]
    for n, path in enumerate(paths):
        cv2.imwrite(str(path), texture[:, n : n + WIDTH])
    return paths


def _uncompressed(mask: np.ndarray) -> dict | None:
    """Run lengths as the real annotation file has them: column by column, background first."""
    if not mask.any():
        return None
    flat = np.concatenate([[False], mask.ravel(order="F"), [not mask[-1, -1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": [HEIGHT, WIDTH], "counts": np.diff(edges, prepend=0).tolist()}
