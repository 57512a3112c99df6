"""A generated data set of YouTube-VIS size for timing the evaluator: ground truth, and a detector's result file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from wsvis_core.storage.rle import Rle

VERTICES = 40


@dataclass(frozen=True)
class Size:
    """How much is generated: videos of `frames` frames height×width, detections per video, categories."""

    videos: int = 300
    frames: int = 36
    height: int = 720
    width: int = 1280
    detections: int = 100
    categories: int = 40


@dataclass(frozen=True)
class Blob:
    """A moving shape: centres and mean radii per frame, harmonics of its outline (K,2), and when it is in sight."""

    centres: np.ndarray
    radii: np.ndarray
    outline: np.ndarray
    present: np.ndarray


def write_scene(folder: Path, size: Size = Size()) -> tuple[Path, Path]:  # noqa: B008 - frozen
    """Write ground_truth.json and results.json into `folder`, one track at a time; returns their paths.

    2 to 8 objects of 1 to 3 categories per video. Half of the detections follow an object with a shifted, reshaped
    outline, the others are blobs of their own; four in five have the category of an object of their video.
    """
    truth_path, results_path = folder / "ground_truth.json", folder / "results.json"
    annotations: list[str] = []
    with open(results_path, "w") as results:
        separator = "["
        for video in range(1, size.videos + 1):
            objects, detections = _video(np.random.default_rng(video), size)
            for category, masks in objects:
                entry = {"id": len(annotations) + 1, "video_id": video, "category_id": category, "iscrowd": 0}
                annotations.append(json.dumps(entry | {"segmentations": masks}))
            for category, score, masks in detections:
                entry = {"video_id": video, "category_id": category, "score": score, "segmentations": masks}
                results.write(separator + json.dumps(entry))
                separator = ",\n"
        results.write("]\n")
    frame = {"height": size.height, "width": size.width, "length": size.frames}
    videos = json.dumps([{"id": video} | frame for video in range(1, size.videos + 1)])
    categories = json.dumps([{"id": c, "name": f"category {c}"} for c in range(1, size.categories + 1)])
    listed = ",\n".join(annotations)
    truth_path.write_text(f'{{"videos": {videos}, "categories": {categories}, "annotations": [{listed}]}}\n')
    return truth_path, results_path


def _video(rng: np.random.Generator, size: Size) -> tuple[list[tuple[int, Any]], list[tuple[int, float, Any]]]:
    """Objects (category, masks) and detections (category, score, masks) of one video."""
    present = rng.integers(1, size.categories + 1, rng.integers(1, 4))
    objects = [(int(rng.choice(present)), _blob(rng, size)) for _ in range(rng.integers(2, 9))]
    detections = []
    for _ in range(size.detections):
        category, blob = objects[rng.integers(len(objects))]
        follows = rng.random() < 0.5
        blob = _reshaped(rng, blob) if follows else _blob(rng, size)
        if rng.random() < 0.2:
            category = int(rng.integers(1, size.categories + 1))
        score = round(float(rng.beta(2, 2) if follows else rng.beta(1, 4)), 4)
        detections.append((category, score, _masks(blob, size)))
    return [(category, _masks(blob, size)) for category, blob in objects], detections


def _blob(rng: np.random.Generator, size: Size) -> Blob:
    time = np.linspace(0, 1, size.frames)[:, None]
    start, end = rng.random((2, 2)) * (size.width, size.height)
    radii = np.exp(rng.uniform(np.log(30), np.log(200))) * (1 + rng.uniform(-0.3, 0.3) * time[:, 0])
    seen = np.ones(size.frames, bool)
    if rng.random() < 0.4:
        first = rng.integers(size.frames)
        seen[first : first + rng.integers(1, size.frames)] = False
        seen[rng.integers(size.frames)] = True
    return Blob(start + (end - start) * time, radii, rng.normal(0, 0.12, (5, 2)), seen)


def _reshaped(rng: np.random.Generator, blob: Blob) -> Blob:
    """The blob as a detector sees it: a bit off in place, size, outline and time."""
    shift = rng.normal(0, 0.15, 2) * blob.radii[:, None]
    outline = blob.outline + rng.normal(0, 0.05, blob.outline.shape)
    present = blob.present & (rng.random(len(blob.present)) < 0.95)
    return Blob(blob.centres + shift, blob.radii * rng.uniform(0.8, 1.2), outline, present)


def _masks(blob: Blob, size: Size) -> list[Rle | None]:
    """One RLE per frame, None where the blob is out of sight."""
    angles = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    waves = np.arange(1, 6)[:, None] * angles
    radius = 1 + blob.outline[:, 0] @ np.cos(waves) + blob.outline[:, 1] @ np.sin(waves)
    unit = radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = blob.centres[:, None] + blob.radii[:, None, None] * unit
    points = np.clip(points, 0, (size.width, size.height))
    return [_mask(outline, size) if seen else None for outline, seen in zip(points, blob.present, strict=True)]


def _mask(outline: np.ndarray, size: Size) -> Rle | None:
    rle = coco_mask.frPyObjects([outline.ravel().tolist()], size.height, size.width)[0]
    counts = rle["counts"].decode("ascii")
    return {"size": [size.height, size.width], "counts": counts} if coco_mask.area(rle) else None
