"""How fast the trackers are, and where UnOVOST's time goes: python -m benchmarks.run tracking.

1,000 frames of 854×480 with 20 proposals each: blobs with rough outlines that drift, bounce and hide one another, under
a moving camera; one proposal in twenty is missing. Flow and vectors lie in memory, as they would be read from a shard.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import cv2
import numpy as np

from wsvis_core.config import TrackingSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import encode_mask
from wsvis_core.tracking import tracker, tracklets, unovost
from wsvis_core.tracking.tracks import Track

FRAMES, PROPOSALS, SIZE, FLOW_SIZE = 1000, 20, (480, 854), (240, 427)
MISSING, DIMENSIONS = 0.05, 1024
PARTS = {
    "overlap removal": (tracker, "clean_proposals"),
    "masks to a picture": (tracklets, "label_picture"),
    "flow to the frame's size": (tracklets, "_resized"),
    "warp and mask IoU": (tracklets, "carried_ious"),
    "assignment": (tracklets, "match_overlaps"),
    "appearance of tracklets, distances": (unovost, "_appearance"),
    "forest: parents": (unovost, "find_parents"),
    "forest: cutting": (unovost, "cut_paths"),
    "categories, scores, ranking": (tracker, "assemble_tracks"),
}


def print_tracking(frames: int = FRAMES) -> None:
    """Print two Markdown tables: frames per second of every tracker, and the parts of UnOVOST."""
    video, flows = make_video(frames)
    rows: dict[str, float] = {}
    print("| tracker | frames per second | tracks | proposals per track, mean |")
    print("|---|---|---|---|")
    for kind in ("unovost", "iou", "deepsort", "masktrack"):
        settings = TrackingSettings(kind=kind, max_tracks=10**6)
        with stopwatch() as parts:
            seconds, tracks = _timed(lambda chosen=settings: tracker.track_video(video, flows, chosen))
        if kind == "unovost":
            rows = {**parts, "the rest": seconds - sum(parts.values()), "whole": seconds}
        lengths = [len(track.present) for track in tracks]
        print(f"| {kind} | {frames / seconds:.1f} | {len(tracks)} | {np.mean(lengths):.1f} |", flush=True)
    print()
    print("| part of UnOVOST | ms per frame | share |")
    print("|---|---|---|")
    for name, seconds in rows.items():
        print(f"| {name} | {1000 * seconds / frames:.2f} | {seconds / rows['whole']:.1%} |")


def _timed(call: Callable[[], list[Track]]) -> tuple[float, list[Track]]:
    began = time.process_time()
    found = call()
    return time.process_time() - began, found


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """CPU seconds of each of PARTS while the block runs."""
    seconds: dict[str, float] = defaultdict(float)
    with ExitStack() as stack:
        for name, (module, function) in PARTS.items():
            stack.enter_context(mock.patch.object(module, function, _watched(getattr(module, function), name, seconds)))
        yield seconds


def _watched(function: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def watched(*args: Any, **options: Any) -> Any:
        began = time.process_time()
        try:
            return function(*args, **options)
        finally:
            seconds[name] += time.process_time() - began

    return watched


class Blob:
    """A rough outline that moves; drawn at any scale of the frame."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.place = rng.uniform((60, 60), (SIZE[1] - 60, SIZE[0] - 60))
        self.speed = rng.uniform(-6, 6, 2)
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        waves = sum(rng.normal(0, 0.25 / k) * np.cos(k * angles + rng.uniform(0, 6.3)) for k in range(2, 9))
        radius = rng.uniform(25, 75) * np.clip(1 + waves, 0.4, 2)
        self.outline = np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None]
        self.vector = rng.normal(size=DIMENSIONS).astype(np.float32).clip(min=0)
        self.category = int(rng.integers(0, 4))

    def move(self) -> None:
        """One frame on; back into the frame where it would leave."""
        self.place = self.place + self.speed
        out = (self.place < 0) | (self.place > (SIZE[1], SIZE[0]))
        self.speed = np.where(out, -self.speed, self.speed)

    def draw(self, picture: np.ndarray, value: tuple[float, ...] | int) -> None:
        """Fill the outline in a picture of the frame at any size."""
        scale = picture.shape[1] / SIZE[1]
        points = np.round((self.place + self.outline) * scale).astype(np.int32)
        cv2.fillPoly(picture, [points], value)


def make_video(frames: int, seed: int = 0) -> tuple[list[EncodedInstances], list[np.ndarray]]:
    """Proposals of every frame, and F_{t+1→t} (2,240,427) float32 for every pair."""
    rng = np.random.default_rng(seed)
    blobs = [Blob(rng) for _ in range(PROPOSALS)]
    video, flows = [], []
    for t in range(frames):
        if t:
            for blob in blobs:
                blob.move()
            flows.append(_flow(blobs, rng))
        video.append(_proposals([blob for blob in blobs if rng.random() > MISSING], rng))
    return video, flows


def _flow(blobs: list[Blob], rng: np.random.Generator) -> np.ndarray:
    """Minus the speed on every blob, the camera's elsewhere, and smooth noise of a third of a pixel."""
    picture = np.full((*FLOW_SIZE, 2), 0.7, np.float32)
    for blob in blobs:
        blob.draw(picture, tuple(float(-v) * FLOW_SIZE[1] / SIZE[1] for v in blob.speed))
    noise = cv2.resize(rng.normal(0, 0.3, (15, 27, 2)).astype(np.float32), FLOW_SIZE[::-1])
    return np.ascontiguousarray((picture + noise).transpose(2, 0, 1)).astype(np.float16).astype(np.float32)


def _proposals(blobs: list[Blob], rng: np.random.Generator) -> EncodedInstances:
    """What of each blob is not hidden by a later one; without those of which nothing is left."""
    picture = np.zeros(SIZE, np.uint8)
    for number, blob in enumerate(blobs, 1):
        blob.draw(picture, number)
    found = [(blob, picture == number) for number, blob in enumerate(blobs, 1)]
    seen = [(blob, mask, cv2.boundingRect(mask.view(np.uint8))) for blob, mask in found if mask.any()]
    boxes = [(x, y, x + width, y + height) for _, _, (x, y, width, height) in seen]
    vectors = [blob.vector + rng.normal(0, 0.2, DIMENSIONS) for blob, _, _ in seen]
    return EncodedInstances(
        SIZE,
        tuple(encode_mask(mask) for _, mask, _ in seen),
        np.array([blob.category for blob, _, _ in seen], np.int64),
        rng.uniform(0.3, 0.99, len(seen)).astype(np.float32),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(vectors, np.float32).reshape(-1, DIMENSIONS),
    )
