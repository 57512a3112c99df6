"""Flow of a shard of videos: t → t+1 at the native rate for stage 1, t ↔ t+δ between annotated frames for stage 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from wsvis_core.config import FlowSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.flow.consistency import consistent_share
from wsvis_core.flow.dis import DisFlow
from wsvis_core.flow.warp import resize_flow
from wsvis_core.storage.shards import Columns, write_shard

KIND = "flow"
ATTRIBUTES = {
    "unit": "pixels of the stored array",
    "direction": "F_ab on a's pixels, (u, v) = (dx, dy), I_a(p) = I_b(p + F_ab(p))",
    "columns": "next: t to native t+1 (next_step -1: to t-1); forward: t to t+delta; backward: t+delta to t",
}


class FlowEstimator(Protocol):
    """What an optical flow method offers."""

    def estimate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Flow first → second, (2,H',W') float32 in pixels of H'×W', from two (H,W,3) uint8 RGB frames."""


# By the names of `flow.estimator` (docs/add_flow.md).
ESTIMATORS: dict[str, Callable[[FlowSettings], FlowEstimator]] = {
    "dis": lambda settings: DisFlow(preset=settings.preset, long_side=settings.estimate_long_side),
}


def build_estimator(settings: FlowSettings) -> FlowEstimator:
    """The estimator a config names."""
    return ESTIMATORS[settings.estimator](settings)


def extract_flow(
    dataset: VideoDataset, videos: Sequence[Video], output: Path, settings: FlowSettings, *, digest_of: dict[str, Any]
) -> None:
    """Write the flow shard of some videos. digest_of: everything the result depends on."""
    estimator = build_estimator(settings)
    write_shard(
        output,
        kind=KIND,
        videos=videos,
        make_columns=lambda video: video_flow(dataset, video, estimator, settings),
        settings=digest_of,
        attributes=ATTRIBUTES,
    )


def video_flow(dataset: VideoDataset, video: Video, estimator: FlowEstimator, settings: FlowSettings) -> Columns:
    """Flow columns of one video of T annotated frames, float16 at h×w.

    next (T,2,h,w): to the native neighbour; next_step (T,) int8: +1 to t+1, −1 to t−1 (last frame of a clip), 0 when
    there is no other frame; where the native neighbour is not on disk, the next annotated frame stands in and
    next_gap (T,) int32 holds the number of native frames between. forward, backward (T−1,2,h,w): between annotated
    neighbours; pair_valid (T−1,) bool: False where their index gap is above max_index_gap. consistent (T−1,) float32:
    forward-backward consistent share of pixels.
    """
    frames = [dataset.read_frame(video, index) for index in range(len(video))]
    size = _stored_size(video, settings.store_short_side)
    following = [_native_flow(dataset, video, frames, t, estimator, size) for t in range(len(frames))]
    pairs = [_pair_flow(video, frames, t, estimator, size, settings) for t in range(len(frames) - 1)]
    empty = np.zeros((0, 2, *size), np.float16)
    return {
        "next": np.stack([flow for flow, _, _ in following]) if following else empty,
        "next_step": np.array([step for _, step, _ in following], np.int8),
        "next_gap": np.array([gap for _, _, gap in following], np.int32),
        "forward": np.stack([p[0] for p in pairs]) if pairs else empty,
        "backward": np.stack([p[1] for p in pairs]) if pairs else empty,
        "pair_valid": np.array([p[2] for p in pairs], bool),
        "consistent": np.array([p[3] for p in pairs], np.float32),
    }


def _stored_size(video: Video, short_side: int) -> tuple[int, int]:
    scale = min(1.0, short_side / min(video.height, video.width))
    return max(round(video.height * scale), 1), max(round(video.width * scale), 1)


def _store(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return resize_flow(torch.from_numpy(flow), size).numpy().astype(np.float16)


def _native_flow(
    dataset: VideoDataset,
    video: Video,
    frames: list[np.ndarray],
    t: int,
    estimator: FlowEstimator,
    size: tuple[int, int],
) -> tuple[np.ndarray, int, int]:
    """(flow, step, gap) of frame t to its native neighbour, or to an annotated one where that is all there is."""
    neighbour = dataset.read_neighbour(video, t)
    if neighbour is not None:
        other, step = neighbour
        return _store(estimator.estimate(frames[t], other), size), step, 1
    if len(frames) == 1:
        return np.zeros((2, *size), np.float16), 0, 0
    step = 1 if t + 1 < len(frames) else -1
    gap = abs(video.frames[t + step].native_index - video.frames[t].native_index)
    return _store(estimator.estimate(frames[t], frames[t + step]), size), step, gap


def _pair_flow(
    video: Video,
    frames: list[np.ndarray],
    t: int,
    estimator: FlowEstimator,
    size: tuple[int, int],
    settings: FlowSettings,
) -> tuple[np.ndarray, np.ndarray, bool, float]:
    gap = video.frames[t + 1].native_index - video.frames[t].native_index
    forward = _store(estimator.estimate(frames[t], frames[t + 1]), size)
    backward = _store(estimator.estimate(frames[t + 1], frames[t]), size)
    tensors = [torch.from_numpy(flow).float()[None] for flow in (forward, backward)]
    return forward, backward, gap <= settings.max_index_gap, consistent_share(*tensors)
