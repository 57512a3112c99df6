"""Combination of stage-1 labels with transferred ones by non-maximum suppression on IoM."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from wsvis_core.instances import InstanceSet
from wsvis_core.mask_ops import mask_areas, mask_iom

LabelPriority = Literal["area", "labels_first"]


def iom_suppress(
    masks: Tensor,
    classes: Tensor,
    *,
    iom_threshold: float = 0.5,
    class_aware: bool = True,
    rank: Tensor | None = None,
) -> Tensor:
    """Indices of the masks kept by greedy suppression on `|A∩B| / min(|A|,|B|)`, ascending (§3.5).

    masks (N,H,W) bool, classes (N,) int64 → (K,) int64. Larger masks come first (equal areas: lower index first);
    `rank` (N,) int, when given, comes before area, lower first. A mask stays when its IoM with every mask kept so
    far is at most `iom_threshold`; with `class_aware` only masks of its class count.
    """
    areas = mask_areas(masks).cpu().numpy()
    ranks = np.zeros(len(masks)) if rank is None else rank.cpu().numpy()
    order = np.lexsort((np.arange(len(masks)), -areas, ranks))
    suppresses = mask_iom(masks, masks) > iom_threshold
    if class_aware:
        suppresses &= classes[:, None] == classes[None, :]
    conflict = suppresses.cpu().numpy()
    kept: list[int] = []
    for index in order:
        if not conflict[index, kept].any():
            kept.append(int(index))
    return torch.tensor(sorted(kept), dtype=torch.int64, device=masks.device)


def combine_labels(
    labels: InstanceSet,
    transferred: InstanceSet,
    *,
    iom_nms: bool = True,
    iom_threshold: float = 0.5,
    class_aware: bool = True,
    priority: LabelPriority = "area",
) -> tuple[InstanceSet, Tensor]:
    """Targets of one frame and where each comes from (§3.5).

    labels G, transferred Q instances of the same frame → (T instances, (T,) int64: index into G followed by Q,
    ascending), T ≤ G + Q, all with at least one pixel and tight boxes. priority "area" (the paper): the larger
    mask wins, whoever made it; "labels_first": a stage-1 label always wins over a transferred one.
    """
    masks = torch.cat([labels.masks, transferred.masks])
    classes = torch.cat([labels.classes, transferred.classes])
    scores = torch.cat([labels.scores, transferred.scores])
    index = masks.flatten(1).any(dim=1).nonzero()[:, 0]
    if iom_nms:
        kept = iom_suppress(
            masks[index],
            classes[index],
            iom_threshold=iom_threshold,
            class_aware=class_aware,
            rank=(index >= len(labels)).long() if priority == "labels_first" else None,
        )
        index = index[kept]
    return InstanceSet.from_masks(masks[index], classes[index], scores[index]), index
