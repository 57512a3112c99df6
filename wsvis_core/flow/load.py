"""Stored flow in the unit, and mostly at the size, a stage works at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wsvis_core.flow.infer import KIND
from wsvis_core.flow.warp import resize_flow
from wsvis_core.storage.shards import ShardReader


@dataclass(frozen=True)
class NextFlow:
    """Flow of a frame to its native neighbour: flow (2,H,W) float32; step +1, −1 or 0 (none); gap in native frames."""

    flow: Tensor
    step: int
    gap: int


class FlowReader:
    """Reads flow shards; flow comes back in pixels of the size asked for, unless a method says otherwise."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._shards = ShardReader(paths, kind=KIND)

    def close(self) -> None:
        """Close the files; the next call opens them again."""
        self._shards.close()

    def next_flow(self, video_id: int, index: int, size: tuple[int, int]) -> NextFlow:
        """`F_{t→t+1}` of frame `index` at size (H, W)."""
        entry = self._next(video_id, index)
        return replace(entry, flow=resize_flow(entry.flow, size))

    def next_flow_as_stored(self, video_id: int, index: int, frame_size: tuple[int, int]) -> NextFlow:
        """`F_{t→t+1}` of frame `index` on the grid it is stored at, in pixels of a frame of size (H, W).

        No value is interpolated, so ranks and percentiles of the speed are those of the flow itself.
        """
        entry = self._next(video_id, index)
        height, width = entry.flow.shape[-2:]
        factor = entry.flow.new_tensor([frame_size[1] / width, frame_size[0] / height]).view(2, 1, 1)
        return replace(entry, flow=entry.flow * factor)

    def pair(self, video_id: int, index: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(`F_{t→s}`, `F_{s→t}`), each (2,H,W), of annotated frames t = index and s = index + 1."""
        columns = self._shards.columns(video_id)
        stored = (torch.from_numpy(columns[name][index]).float() for name in ("forward", "backward"))
        forward, backward = (resize_flow(flow, size) for flow in stored)
        return forward, backward

    def backward(self, video_id: int, index: int) -> np.ndarray:
        """`F_{t+1→t}` between annotated frames as stored: (2,h,w) float32 in pixels of h×w."""
        return self._shards.columns(video_id)["backward"][index].astype(np.float32)

    def forward(self, video_id: int, index: int) -> np.ndarray:
        """`F_{t→t+1}` between annotated frames as stored: (2,h,w) float32 in pixels of h×w."""
        return self._shards.columns(video_id)["forward"][index].astype(np.float32)

    def pair_valid(self, video_id: int) -> list[bool]:
        """For every t < T−1: may frames t and t+1 be used as a pair (their native gap is small enough)?"""
        return self._shards.columns(video_id)["pair_valid"][()].tolist()

    def _next(self, video_id: int, index: int) -> NextFlow:
        columns = self._shards.columns(video_id)
        flow = torch.from_numpy(columns["next"][index]).float()
        return NextFlow(flow, int(columns["next_step"][index]), int(columns["next_gap"][index]))
