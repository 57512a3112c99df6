"""Detections conditional on what is known of an image: only classes that its label names, or background.

Ours; the paper classifies its test frames, which have no labels (docs/method.md §3.10).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def only_named_classes(
    logits: Tensor, classes: Sequence[Tensor | None], counts: Sequence[int], *, background: int
) -> Tensor:
    """Class logits (R,C+1) with -inf for every class that the label of the region's image does not name.

    Their softmax is p(class | a named class or background); without a named class it is 1 for background.
    classes: bool (C,) for each of B images, None where nothing is known of it, whose logits stay as they are ·
    counts: regions of each image, R in all, in the order of the rows · background: its column, 0 or -1.
    Raises ValueError for a label of another number of classes, and for other numbers of images or regions.
    """
    allowed = torch.ones(logits.shape, dtype=torch.bool, device=logits.device)
    foreground = slice(1, None) if background == 0 else slice(None, -1)
    if len(classes) != len(counts) or sum(counts) != len(logits):
        raise ValueError(f"{len(classes)} labels, {len(counts)} images with {sum(counts)} regions, {len(logits)} rows")
    for named, rows in zip(classes, allowed.split(list(counts)), strict=True):
        if named is None:
            continue
        if named.shape != (logits.shape[1] - 1,):
            raise ValueError(f"a label of shape {tuple(named.shape)} for {logits.shape[1] - 1} classes")
        rows[:, foreground] = named.to(logits.device)
    return logits.masked_fill(~allowed, float("-inf"))
