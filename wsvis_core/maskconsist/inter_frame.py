"""Inter-frame matching: which instance of frame t is which instance of frame s."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from wsvis_core.flow.warp import warp_masks
from wsvis_core.instances import InstanceSet
from wsvis_core.mask_ops import mask_iou

# Rounding of the sampling positions moves a warped value by up to about 1e-4; "≥ ½" must not depend on it where a
# flow of half a pixel makes values of exactly ½.
HALF = 0.5 - 1e-3


@dataclass(frozen=True)
class FrameMatches:
    """One-to-one matches of a source frame's N instances with a target frame's M instances.

    pairs (K,2) int64: (index in source, index in target) · edges (K,) float32: mask IoU after warping, in (0,1] ·
    warped_masks (N,H,W) bool: every source mask on the target frame's grid.
    """

    pairs: Tensor
    edges: Tensor
    warped_masks: Tensor

    def __len__(self) -> int:
        return len(self.pairs)

    def reversed(self, warped_masks: Tensor) -> FrameMatches:
        """The same matches seen from the target; `warped_masks` are the target's masks on the source grid."""
        return FrameMatches(self.pairs.flip(1), self.edges, warped_masks)


def match_frames(
    source: InstanceSet,
    target: InstanceSet,
    flow_target_to_source: Tensor,
    *,
    min_edge: float = 0.0,
    match_stride: int = 1,
) -> FrameMatches:
    """The matches of maximum total mask IoU between the warped source masks and the target masks (§3.3).

    source N and target M instances of two frames of H×W pixels; flow_target_to_source (2,H,W), pixels: lives on
    the **target** frame and points to the source, because backward warping reads the source at p + flow(p).
    Instances of different classes never match; a match needs an edge above `min_edge` (strict).
    match_stride: cells of that many pixels for the edges only (memory and time); the masks keep full size.
    """
    if flow_target_to_source.shape[-2:] != source.masks.shape[-2:]:
        raise ValueError(
            f"flow is {tuple(flow_target_to_source.shape)} but the masks are {tuple(source.masks.shape)}; "
            "resize the flow to the masks' frame (wsvis_core.flow.warp.resize_flow)"
        )
    # Paper silent: threshold 0.5 on the warped mask, and no occlusion mask.
    warped = carry_masks(source.masks, flow_target_to_source)
    edges = matching_edges(warped, target.masks, stride=match_stride)
    pairs = match_by_class(edges, source.classes, target.classes, min_edge=min_edge)
    return FrameMatches(pairs, edges[pairs[:, 0], pairs[:, 1]], warped)


def carry_masks(masks: Tensor, flow: Tensor) -> Tensor:
    """Masks of one frame on another frame's grid: backward warp, then ≥ ½, a half itself included (§3.3).

    masks (N,H,W) bool on frame t, flow (2,H,W) = F_{s→t} in pixels → (N,H,W) bool on frame s. Nothing comes from
    outside the frame or through a flow that is not finite, so a mask may become empty.
    """
    return warp_masks(masks, flow, threshold=HALF)


def matching_edges(source_masks: Tensor, target_masks: Tensor, *, stride: int = 1) -> Tensor:
    """Mask IoU of every pair, on cells of stride×stride pixels.

    source_masks (N,H,W), target_masks (M,H,W) bool → (N,M) float32. With stride > 1 a cell holds the share of it
    that the mask covers and the overlap is Σab / (Σa² + Σb² − Σab): 1 for equal masks, the IoU at stride 1.
    """
    if stride == 1:
        return mask_iou(source_masks, target_masks)
    a, b = _covered_share(source_masks, stride), _covered_share(target_masks, stride)
    shared = a @ b.T
    total = a.square().sum(1)[:, None] + b.square().sum(1)[None, :] - shared
    return torch.where(total > 0, shared / total.clamp(min=1e-12), torch.zeros_like(total))


def _covered_share(masks: Tensor, stride: int) -> Tensor:
    """(N,H,W) bool → (N, cells) float32, share of each cell that the mask covers; edge cells count pixels inside."""
    return F.avg_pool2d(masks[:, None].float(), stride, ceil_mode=True).flatten(1)


def match_by_class(edges: Tensor, source_classes: Tensor, target_classes: Tensor, *, min_edge: float = 0.0) -> Tensor:
    """Pairs (i,j) of the maximum-weight one-to-one assignment among equal classes, ordered by i.

    edges (N,M) float ≥ 0, source_classes (N,), target_classes (M,) int64 → (K,2) int64 on the device of `edges`.
    Only pairs with `edges[i,j] > min_edge` are kept, compared in the precision of `edges`, so that an edge of
    three tenths is not above 0.3. Classes cannot compete for partners, so each class is one
    small assignment problem, solved in float64 on the CPU: the result does not depend on the device.
    """
    weights = edges.cpu().numpy()
    sources, targets = np.split(torch.cat([source_classes, target_classes]).cpu().numpy(), [len(source_classes)])
    pairs: list[tuple[int, int]] = []
    for label in sorted(set(sources.tolist()) & set(targets.tolist())):
        rows, columns = (sources == label).nonzero()[0], (targets == label).nonzero()[0]
        block = weights[rows[:, None], columns[None, :]]
        chosen = zip(*linear_sum_assignment(block.astype(np.float64), maximize=True), strict=True)
        above = block > block.dtype.type(min_edge)
        pairs += [(int(rows[i]), int(columns[j])) for i, j in chosen if above[i, j]]
    return torch.tensor(sorted(pairs), dtype=torch.int64, device=edges.device).reshape(-1, 2)
