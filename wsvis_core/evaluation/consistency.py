"""Temporal consistency TC: do predictions of neighbouring frames agree along the flow? (docs/method.md §7.5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from wsvis_core.evaluation.coco import ImageScore, TrueInstances, combine, score_image, summarize
from wsvis_core.evaluation.frames import above_score
from wsvis_core.flow.consistency import occluded
from wsvis_core.flow.warp import resize_flow, warp_masks
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import encode_mask

Direction = Literal["forward", "backward", "both"]


@dataclass(frozen=True)
class FlowPair:
    """Predictions of two neighbouring frames and the flow between them, pixels of their own arrays.

    backward = F_{t+1→t} (2,h,w), needed to carry masks from t to t+1 · forward = F_{t→t+1}, for the other direction.
    A flow that the chosen direction does not need may be None.
    """

    first: EncodedInstances
    second: EncodedInstances
    backward: np.ndarray | None = None
    forward: np.ndarray | None = None


def temporal_consistency(
    pairs: Iterable[FlowPair],
    category_ids: Sequence[int],
    *,
    direction: Direction = "forward",
    truth_score_threshold: float = 0.05,
    ignore_occluded: bool = False,
) -> dict[str, Any]:
    """Class-wise COCO AP of predictions against the warped predictions of the neighbour frame; TC is its AP50.

    pairs: every adjacent pair of evaluated frames of all videos, read one at a time. `direction="forward"`: masks
    of t, carried to t+1, are the truth for t+1; `"backward"` the reverse, as in ETC; `"both"` the mean of the two.
    Keys: TC, mAP, AP50, AP75, AR100, pairs (0..1; −1 without any truth); for "both" the two under `forward` and
    `backward`. `ignore_occluded` drops occluded pixels (forward-backward check, needs both flows) from both sides.
    """
    directions: tuple[str, ...] = ("forward", "backward") if direction == "both" else (direction,)
    images: dict[str, list[ImageScore]] = {name: [] for name in directions}
    for pair in pairs:
        for name in directions:
            truth, found = _as_image(pair, name, category_ids, truth_score_threshold, ignore_occluded)
            images[name].append(score_image(truth, found, category_ids))
    metrics = {name: _metrics(images[name], category_ids) for name in directions}
    if direction != "both":
        return metrics[direction]
    keys = [key for key in metrics["forward"] if key != "pairs"]
    means = {key: _mean([metrics[name][key] for name in directions]) for key in keys}
    return means | {"pairs": metrics["forward"]["pairs"], **metrics}


def _mean(values: Sequence[float]) -> float:
    """Mean of the known values; −1 stands for unknown."""
    known = [value for value in values if value >= 0]
    return sum(known) / len(known) if known else -1.0


def _metrics(images: Sequence[ImageScore], category_ids: Sequence[int]) -> dict[str, Any]:
    metrics = summarize(combine(images, len(category_ids)), category_ids, [str(c) for c in category_ids])
    metrics.pop("per_category")
    return {"TC": metrics["AP50"], **metrics, "pairs": len(images)}


def _as_image(
    pair: FlowPair, direction: str, category_ids: Sequence[int], threshold: float, ignore_occluded: bool
) -> tuple[TrueInstances, EncodedInstances]:
    """The warped truth and the detections of one pair in one direction."""
    forward = direction == "forward"
    source, target = (pair.first, pair.second) if forward else (pair.second, pair.first)
    flow, returning = (pair.backward, pair.forward) if forward else (pair.forward, pair.backward)
    if flow is None or (ignore_occluded and returning is None):
        raise ValueError(f"the flow that direction {direction!r} needs is missing")
    field = resize_flow(torch.from_numpy(np.asarray(flow, np.float32)), target.size)
    hidden = None
    if ignore_occluded:
        back = resize_flow(torch.from_numpy(np.asarray(returning, np.float32)), target.size)
        hidden = occluded(field, back)
        target = EncodedInstances.encode(_without(target.decode(), hidden))
    truth = above_score(source, threshold).decode()
    masks = warp_masks(truth.masks, field)
    return _true_instances(masks if hidden is None else masks & ~hidden, truth.classes, category_ids), target


def _without(instances: InstanceSet, hidden: Tensor) -> InstanceSet:
    """Instances less the hidden pixels (H,W) bool; those that become empty are left out."""
    masks = instances.masks & ~hidden
    cut = InstanceSet.from_masks(masks, instances.classes, instances.scores)
    return cut.select(torch.nonzero(masks.flatten(1).any(1)).flatten())


def _true_instances(masks: Tensor, classes: Tensor, category_ids: Sequence[int]) -> TrueInstances:
    """The masks that are not empty after the warp, as truth."""
    kept = torch.nonzero(masks.flatten(1).any(1)).flatten().tolist()
    ids = [int(category_ids[int(classes[i])]) for i in kept]
    return TrueInstances([encode_mask(masks[i].numpy()) for i in kept], ids, [False] * len(kept))
