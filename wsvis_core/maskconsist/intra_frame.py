"""Intra-frame matching: predictions that agree with one stage-1 label are also offered as one merged prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from wsvis_core.instances import InstanceSet
from wsvis_core.mask_ops import box_iou, mask_unions


def agreeing(predictions: InstanceSet, labels: InstanceSet, min_box_iou: float = 0.5) -> Tensor:
    """Which stage-1 label each prediction agrees with: same class and box IoU above `min_box_iou` (strict).

    predictions N, labels G instances of one frame → bool (N,G). The box of a prediction is the detector's, not
    the tight box of its mask.
    """
    same_class = predictions.classes[:, None] == labels.classes[None, :]
    return same_class & (box_iou(predictions.boxes_xyxy, labels.boxes_xyxy) > min_box_iou)


def drop_empty_masks(instances: InstanceSet) -> InstanceSet:
    """The instances that have at least one pixel, in their order."""
    return instances.select(instances.masks.flatten(1).any(dim=1))


def expand_predictions(predictions: InstanceSet, labels: InstanceSet, *, min_box_iou: float = 0.5) -> InstanceSet:
    """P_exp of one frame (§3.2): the predictions with a pixel, then one union per label that two or more of them fit.

    A weak detector breaks an object into parts that each overlap its label; their union is the candidate that
    covers it. predictions N, labels G instances of the same H×W frame → N' + U instances, U ≤ G, without
    appearance. An added one has the tight box of its mask, its label's class and the best score of its parts.
    """
    # Paper silent: a union is offered only when at least two predictions qualify (one adds nothing new), and
    # predictions without a pixel do not count as parts.
    parts = _without_appearance(drop_empty_masks(predictions))
    member = agreeing(parts, labels, min_box_iou)
    merged = (member.sum(dim=0) >= 2).nonzero()[:, 0]
    if len(merged) == 0:
        return parts
    member = member[:, merged]
    scores = parts.scores[:, None].where(member, -torch.inf).amax(dim=0)
    unions = InstanceSet.from_masks(mask_unions(parts.masks, member), labels.classes[merged], scores)
    return InstanceSet.concatenate([parts, unions])


def _without_appearance(instances: InstanceSet) -> InstanceSet:
    return InstanceSet(instances.masks, instances.boxes_xyxy, instances.classes, instances.scores)
