"""Tracklets (UnOVOST): overlap removal in a frame, links by flow between frames (docs/method.md §5.1, 1-2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from wsvis_core.flow.warp import resize_flow, warp_masks
from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.overlap import OverlapMeasure, rle_overlaps

Assignment = Literal["hungarian", "greedy"]
Link = tuple[int, int]


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
    def places(self) -> tuple[tuple[int, int], ...]:
        """(frame, proposal) of every member."""
        return tuple((self.start + k, member) for k, member in enumerate(self.members))


def remove_overlaps(
    rles: Sequence[Rle], scores: np.ndarray, *, threshold: float = 0.2, measure: OverlapMeasure = "iou"
) -> list[int]:
    """Numbers of the proposals that survive, best score first: of two that overlap by ≥ threshold the better.

    rles N, scores (N,). Class-agnostic and greedy, which equals the published repeated walk on score-sorted input;
    equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = rle_overlaps(rles, rles, measure)
    kept: list[int] = []
    for candidate in order:
        if not kept or overlaps[candidate, kept].max() < threshold:
            kept.append(int(candidate))
    return kept


def match_masks(
    forward: Tensor, masks: Tensor, *, threshold: float = 0.05, assignment: Assignment = "hungarian"
) -> list[Link]:
    """Pairs (a, b) with mask IoU > threshold, each a and b at most once, ascending in a.

    forward (N,h,w) bool: masks of frame t carried to t+1 · masks (M,h,w) bool of t+1. `"hungarian"` maximises the
    summed IoU, `"greedy"` takes the largest IoU first.
    """
    if len(forward) == 0 or len(masks) == 0:
        return []
    overlaps = _ious(forward, masks)
    if assignment == "hungarian":
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
    else:
        pairs = _greedy_pairs(overlaps)
    return sorted((a, b) for a, b in pairs if overlaps[a, b] > threshold)


def _ious(a: Tensor, b: Tensor) -> np.ndarray:
    """Mask IoU of every pair (N,M) float64, 0 where both are empty; each mask is converted to float32 once."""
    left, right = a.flatten(1).float(), b.flatten(1).float()
    shared = left @ right.T
    union = left.sum(1)[:, None] + right.sum(1)[None, :] - shared
    return (shared / union.clamp(min=1)).numpy().astype(np.float64)


def _greedy_pairs(overlaps: np.ndarray) -> list[Link]:
    pairs: list[Link] = []
    left, right = set(range(overlaps.shape[0])), set(range(overlaps.shape[1]))
    for flat in np.argsort(-overlaps, axis=None, kind="stable"):
        a, b = divmod(int(flat), overlaps.shape[1])
        if a in left and b in right:
            pairs.append((a, b))
            left.remove(a)
            right.remove(b)
    return pairs


def link_frames(
    frames: Sequence[Sequence[Rle]],
    flows_backward: Sequence[np.ndarray | None],
    size: tuple[int, int],
    *,
    threshold: float = 0.05,
    assignment: Assignment = "hungarian",
    link_long_side: int | None = None,
) -> list[list[Link]]:
    """Links between frame t and t+1, for t = 0..T-2.

    frames: T lists of RLEs of size (H, W) = `size` · flows_backward[t] = F_{t+1→t} (2,h,w), pixels, on frame t+1's
    grid, rescaled when stored smaller; None means no movement. Masks of t are carried to t+1 by a backward warp
    ≥ 0.5 at the frame's size, or at `link_long_side` pixels for speed. Holds two frames of dense masks at a time.
    """
    link_size = _link_size(size, link_long_side)
    links = []
    dense = _dense_frames(frames, link_size)
    previous = next(dense, None)
    for masks, flow in zip(dense, flows_backward, strict=True):
        forward = previous
        if flow is not None and len(previous) and len(masks):
            field = torch.from_numpy(np.asarray(flow, np.float32))
            forward = warp_masks(previous, resize_flow(field, link_size))
        links.append(match_masks(forward, masks, threshold=threshold, assignment=assignment))
        previous = masks
    return links


def _link_size(size: tuple[int, int], long_side: int | None) -> tuple[int, int]:
    if long_side is None or long_side >= max(size):
        return size
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _dense_frames(frames: Sequence[Sequence[Rle]], size: tuple[int, int]) -> Iterator[Tensor]:
    """Masks of each frame, (N,h,w) bool, sampled at the nearest pixel where `size` is smaller than the frame."""
    for rles in frames:
        if not rles:
            yield torch.zeros((0, *size), dtype=torch.bool)
            continue
        masks = coco_mask.decode(list(rles))
        rows = _sample_positions(masks.shape[0], size[0])
        columns = _sample_positions(masks.shape[1], size[1])
        sampled = masks if size == masks.shape[:2] else masks[rows[:, None], columns[None, :]]
        yield torch.from_numpy(np.ascontiguousarray(sampled.transpose(2, 0, 1))).bool()


def _sample_positions(length: int, samples: int) -> np.ndarray:
    """The pixels nearest to the centres of `samples` equal parts of 0..length-1."""
    return ((np.arange(samples) + 0.5) * length / samples).astype(np.int64)


def build_tracklets(
    counts: Sequence[int], links: Sequence[Sequence[Link]], *, keep_last_frame: bool = True
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
