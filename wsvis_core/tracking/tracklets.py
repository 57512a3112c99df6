"""Tracklets (UnOVOST): links by flow between frames (docs/method.md §5.1, 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wsvis_core.flow.warp import resize_flow
from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.assignment import Assignment, Pair, match_overlaps
from wsvis_core.tracking.carry import carried_ious, label_picture
from wsvis_core.tracking.tracks import Place


@dataclass(frozen=True)
class Tracklet:
    """Proposals linked through consecutive frames: `members[k]` is a proposal's number in frame `start + k`."""

    start: int
    members: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.members)

    @property
    def end(self) -> int:
        """The last frame (inclusive)."""
        return self.start + len(self.members) - 1

    @property
    def places(self) -> tuple[Place, ...]:
        """(frame, proposal) of every member."""
        return tuple((self.start + k, member) for k, member in enumerate(self.members))


def link_frames(
    frames: Sequence[Sequence[Rle]],
    flows_backward: Sequence[np.ndarray | None],
    size: tuple[int, int],
    *,
    threshold: float = 0.05,
    assignment: Assignment = "hungarian",
    link_long_side: int | None = None,
) -> list[list[Pair]]:
    """Links between frame t and t+1 for every t: T frames of masks and T-1 flows → T-1 lists of (a, b).

    frames: RLEs of frame size (H, W) = size · flows_backward: F_{t+1→t} (2,h,w) in pixels of its own array, or None
    (no movement assumed). Masks and flow are compared at the frame's size, or at `link_long_side` pixels for speed.
    Holds two frames at a time.
    """
    link_size = _link_size(size, link_long_side)
    links = []
    pictures = (label_picture(rles, size, link_size) for rles in frames)
    previous = next(pictures, None)
    for picture, flow in zip(pictures, flows_backward, strict=True):
        assert previous is not None
        links.append([])
        if previous.count and picture.count:
            overlaps = carried_ious(previous, picture, None if flow is None else _resized(flow, link_size))
            links[-1] = match_overlaps(overlaps, threshold=threshold, assignment=assignment)
        previous = picture
    return links


def _link_size(size: tuple[int, int], long_side: int | None) -> tuple[int, int]:
    if long_side is None or long_side >= max(size):
        return size
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _resized(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return resize_flow(torch.from_numpy(np.asarray(flow, np.float32)), size).numpy()


def build_tracklets(
    counts: Sequence[int], links: Sequence[Sequence[Pair]], *, keep_last_frame: bool = True
) -> list[Tracklet]:
    """Tracklets in order of their first frame, then of their first proposal; every proposal is in exactly one.

    counts: proposals of each of T frames · links[t]: pairs (proposal of t, proposal of t+1). The published code
    loses the proposals that appear only in the last frame (`keep_last_frame=False` does so too).
    """
    chains: list[tuple[int, list[int]]] = []
    open_chains: dict[int, list[int]] = {}
    for t, count in enumerate(counts):
        predecessor = {b: a for a, b in links[t - 1]} if t else {}
        current: dict[int, list[int]] = {}
        for proposal in range(count):
            if proposal in predecessor:
                chain = open_chains[predecessor[proposal]]
            elif t == len(counts) - 1 and not keep_last_frame:
                continue
            else:
                chain = []
                chains.append((t, chain))
            chain.append(proposal)
            current[proposal] = chain
        open_chains = current
    return [Tracklet(start, tuple(chain)) for start, chain in chains]
