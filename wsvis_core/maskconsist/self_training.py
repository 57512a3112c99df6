"""The labels of a self-training round: what the previous round predicts on its own training frames (§3.11)."""

from __future__ import annotations

import torch
from torch import Tensor

from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist.combine import iom_suppress
from wsvis_core.maskconsist.intra_frame import drop_empty_masks


def self_training_labels(
    predictions: InstanceSet,
    frame_classes: Tensor,
    *,
    score_threshold: float = 0.5,
    fallback_min: float = 0.05,
    iom_threshold: float = 0.5,
    hard: bool = True,
) -> InstanceSet:
    """The predictions of one frame that become its stage-1 labels in the next round (§3.11).

    predictions N instances; frame_classes (C,) bool: the frame's class label. Kept: detections of a labelled
    class with score ≥ score_threshold; for a labelled class without one, its best detection if ≥ fallback_min;
    then class-aware IoM-NMS, the larger mask first. hard: every label gets score 1; soft keeps the scores.
    """
    # Paper silent: it only says that a second model learns from the predictions of the first (decision A26).
    found = drop_empty_masks(predictions)
    labelled = frame_classes.to(found.classes.device)[found.classes]
    chosen = labelled & (found.scores >= score_threshold)
    chosen |= labelled & _best_of_missing_classes(found, chosen, fallback_min)
    labels = found.select(chosen)
    labels = labels.select(iom_suppress(labels.masks, labels.classes, iom_threshold=iom_threshold))
    return InstanceSet.from_masks(labels.masks, labels.classes, None if hard else labels.scores)


def _best_of_missing_classes(instances: InstanceSet, chosen: Tensor, fallback_min: float) -> Tensor:
    """bool (N,): the best-scoring instance ≥ fallback_min of each class that has none chosen yet."""
    best = torch.zeros_like(chosen)
    for label in instances.classes[~chosen].unique().tolist():
        of_class = instances.classes == label
        if bool((of_class & chosen).any()):
            continue
        index = torch.where(of_class, instances.scores, instances.scores.new_tensor(-1.0)).argmax()
        best[index] = instances.scores[index] >= fallback_min
    return best
