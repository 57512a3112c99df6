"""Labels that are the background: found by where they lie, and left out (ours; the paper keeps every label).

A classifier that saw one or two videos of a class may know it by its meadow or street. The label of such a frame
covers most of it or runs along its borders, and a detector that learns from it finds meadows. Nothing is better.
Letters: N instances, H×W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsvis_core.instances import InstanceSet

SIDE_SHARE = 0.1  # of a side's pixels: a mask with more of them touches that side
SIDES = 3
LARGE_AT_SIDES = 0.2  # of the frame: a smaller mask at three sides may be an object that fills a small frame's corner


def drop_background(instances: InstanceSet, *, max_cover: float) -> InstanceSet:
    """The instances that are not suspected to be background, in their order."""
    return instances.select(~suspect_background(instances.masks, max_cover=max_cover))


def suspect_background(masks: Tensor, *, max_cover: float) -> Tensor:
    """Which masks hold more than `max_cover` of the frame, or a fifth of it and three sides: (N,H,W) → (N,) bool."""
    pixels = masks.float()
    cover = pixels.mean(dim=(1, 2))
    lines = (pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1])
    touched = torch.stack([line.mean(dim=1) > SIDE_SHARE for line in lines]).sum(dim=0)
    return (cover > max_cover) | ((touched >= SIDES) & (cover > LARGE_AT_SIDES))
