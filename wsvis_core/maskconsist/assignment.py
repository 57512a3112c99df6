"""Temporally consistent assignment (Algorithm 1): matched pairs become labels of the other frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wsvis_core.instances import InstanceSet
from wsvis_core.mask_ops import box_iou, boxes_from_masks, mask_areas, mask_iom
from wsvis_core.maskconsist.inter_frame import FrameMatches
from wsvis_core.maskconsist.intra_frame import agreeing

MergeRule = Literal["union", "prediction", "warped", "intersection"]


@dataclass(frozen=True)
class TransferredLabels:
    """Q of one frame: K labels that did not come from stage 1.

    instances: K labels, score = the better of the two predictions · gate_areas (K,) float32: area in pixels of
    the stage-1 label whose box let each one through (on its own frame).
    """

    instances: InstanceSet
    gate_areas: Tensor

    def __len__(self) -> int:
        return len(self.instances)

    def select(self, index: Tensor) -> TransferredLabels:
        """The labels at an index (int64 or bool tensor)."""
        return TransferredLabels(self.instances.select(index), self.gate_areas[index])

    @classmethod
    def empty(cls, size: tuple[int, int], device: torch.device | str = "cpu") -> TransferredLabels:
        """No transferred label on a frame of (H, W) pixels."""
        return cls(InstanceSet.empty(*size, device=device), torch.zeros(0, device=device))


def gating_labels(instances: InstanceSet, labels: InstanceSet, min_box_iou: float = 0.5) -> Tensor:
    """For each instance the index of the stage-1 label that lets it through, -1 where none does.

    instances N, labels G of the same frame → (N,) int64. A label lets through what has its class and a box IoU
    above `min_box_iou`; of several, the one with the highest box IoU (the lowest index when equal).
    """
    if len(labels) == 0:
        return torch.full((len(instances),), -1, device=instances.masks.device)
    overlap = box_iou(instances.boxes_xyxy, labels.boxes_xyxy)
    overlap = torch.where(agreeing(instances, labels, min_box_iou), overlap, torch.full_like(overlap, -1))
    best, index = overlap.max(dim=1)
    return torch.where(best >= 0, index, torch.full_like(index, -1))


def assign_labels(
    source: InstanceSet,
    source_labels: InstanceSet,
    target: InstanceSet,
    matches: FrameMatches,
    *,
    gate_box_iou: float = 0.5,
    merge_rule: MergeRule = "union",
) -> TransferredLabels:
    """Q of the target frame: one label per matched pair whose source instance has a stage-1 label (Alg. 1).

    source N, target M predictions (P_exp) of two frames; source_labels: stage-1 labels of the **source** frame,
    compared with the source instance's own, unwarped box (class equal, box IoU > gate_box_iou, strict).
    The mask is `warped source ∪ target` ("union", the paper); "prediction" keeps the target's mask alone,
    "warped" the source's, "intersection" what both say. One label per pair, however many stage-1 labels qualify.
    """
    gates = gating_labels(source, source_labels, gate_box_iou)
    allowed = gates[matches.pairs[:, 0]] >= 0
    i, j = matches.pairs[allowed].unbind(1)
    if len(i) == 0:
        return TransferredLabels.empty(target.size, target.masks.device)
    masks = merge_masks(matches.warped_masks[i], target.masks[j], merge_rule)
    scores = torch.maximum(source.scores[i], target.scores[j])
    merged = InstanceSet.from_masks(masks, source.classes[i], scores)
    transferred = TransferredLabels(merged, mask_areas(source_labels.masks)[gates[i]])
    return transferred.select(masks.flatten(1).any(dim=1))


def merge_masks(warped: Tensor, predicted: Tensor, rule: MergeRule) -> Tensor:
    """One mask for each matched pair. warped, predicted (K,H,W) bool on the target frame → (K,H,W) bool."""
    match rule:
        case "union":
            return warped | predicted
        case "prediction":
            return predicted
        case "warped":
            return warped
        case "intersection":
            return warped & predicted
    raise ValueError(f"merge_rule '{rule}' is not one of union, prediction, warped, intersection")


def self_labels(predictions: InstanceSet, labels: InstanceSet, *, gate_box_iou: float = 0.5) -> TransferredLabels:
    """The row of Table 5 without inter-frame matching: a frame's own predictions that agree with its labels."""
    # Paper silent: it does not say what this row transfers; own-frame self-labelling fits its drop below the
    # baseline (decision A21).
    gates = gating_labels(predictions, labels, gate_box_iou)
    chosen = gates >= 0
    if not bool(chosen.any()):
        return TransferredLabels.empty(predictions.size, predictions.masks.device)
    return TransferredLabels(predictions.select(chosen), mask_areas(labels.masks)[gates[chosen]])


def limit_growth(transferred: TransferredLabels, growth_cap: float | None) -> TransferredLabels:
    """The transferred labels no larger than `growth_cap` times the stage-1 label that gated them; None: all."""
    if growth_cap is None:
        return transferred
    # A quotient is rounded like the cap itself, a product is not: 1.3 × 90 came out below 117.
    return transferred.select(mask_areas(transferred.instances.masks) / transferred.gate_areas <= growth_cap)


def contested(
    instances: InstanceSet, labels: InstanceSet, *, iom_threshold: float = 0.5, class_aware: bool = True
) -> Tensor:
    """Which stage-1 labels of the same frame each instance would fight in IoM-NMS. N, G → bool (N,G)."""
    rival = mask_iom(instances.masks, labels.masks) > iom_threshold
    if class_aware:
        rival &= instances.classes[:, None] == labels.classes[None, :]
    return rival


def require_target_agreement(
    transferred: TransferredLabels,
    target_labels: InstanceSet,
    *,
    gate_box_iou: float = 0.5,
    iom_threshold: float = 0.5,
) -> TransferredLabels:
    """The transferred labels that the target frame's own stage-1 labels do not contradict.

    Where a same-class label of the target frame covers the transferred one (IoM above `iom_threshold`), one
    of these must also have a box IoU above `gate_box_iou` with it; where no label is, the gap may be filled.
    """
    instances = transferred.instances
    rivals = contested(instances, target_labels, iom_threshold=iom_threshold)
    boxes = boxes_from_masks(instances.masks)
    fits = rivals & (box_iou(boxes, target_labels.boxes_xyxy) > gate_box_iou)
    return transferred.select(~rivals.any(dim=1) | fits.any(dim=1))
