"""MaskConsist: the targets of a frame pair from its predictions, its stage-1 labels and the flow between them.

The whole of §3.2-3.6 as one pure function. Nothing here knows of networks, files or random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist.assignment import (
    MergeRule,
    TransferredLabels,
    assign_labels,
    contested,
    limit_growth,
    require_target_agreement,
    self_labels,
)
from wsvis_core.maskconsist.combine import LabelPriority, combine_labels
from wsvis_core.maskconsist.diagnostics import TransferDiagnostics, frame_diagnostics
from wsvis_core.maskconsist.inter_frame import FrameMatches, match_frames
from wsvis_core.maskconsist.intra_frame import drop_empty_masks, expand_predictions


@dataclass(frozen=True)
class TransferSettings:
    """How labels travel between two frames. The defaults are the paper read literally.

    **The union ratchet.** Read literally, every match merges two masks into their union, IoM-NMS then keeps the
    larger of union and stage-1 label, the detector learns the larger mask and predicts it next time: no step of
    the loop can make a mask smaller, so errors of the detector and of the flow only ever add pixels. With a long
    schedule and a pretrained detector the predictions are tight and little is added; with a short one from
    scratch masks grew until AP collapsed. Watch `TransferDiagnostics.area_ratio` and `transferred_growth`.
    The second block of options cuts the loop at one place each; all are off by default here, while the segmenter
    `maskconsist` of `config.yaml` transfers intersections (docs/maskconsist.md).

    The paper's switches and thresholds:
    - intra_frame: offer the union of predictions that agree with one label (Table 5, "Intra-F").
    - inter_frame: transfer across frames; without it a frame labels itself (Table 5, "Inter-F").
    - iom_nms: suppress smaller overlapping targets (Table 5, "IoM-NMS").
    - intra_box_iou, gate_box_iou: box IoU (strict) for intra-frame agreement, and for Algorithm 1's gate.
    - iom_threshold: masks with a higher IoM than this exclude each other.
    - min_edge: mask IoU (strict) that a match needs after warping; raising it asks both masks to agree first.
    - class_aware_iom: only masks of one class suppress each other (a rider does not delete the horse).
    - shared_matching: use the t→s matching in both directions instead of one matching per direction.
    - match_stride: cell size in pixels for the matching weights only.

    Against the ratchet:
    - min_candidate_score: predictions below this score take no part; early, arbitrary ones are the worst growers.
    - merge_rule: "union" (paper), "prediction" (the target frame's own mask, the match only vouches for it),
      "warped", or "intersection" (shrinks where the masks differ).
    - label_priority: "area" (paper) or "labels_first": a stage-1 label beats any transferred one.
    - fill_only: a transferred label in conflict with a stage-1 label of its frame is dropped before the
      combination, also where IoM-NMS is off; transfers only fill gaps.
    - growth_cap: largest area of a transferred label, in areas of the stage-1 label that gated it; None: any.
    - require_agreement: where the target frame has its own label of that class there, the transferred one must
      also pass the box gate against it.
    """

    intra_frame: bool = True
    inter_frame: bool = True
    iom_nms: bool = True
    intra_box_iou: float = 0.5
    gate_box_iou: float = 0.5
    iom_threshold: float = 0.5
    min_edge: float = 0.0
    class_aware_iom: bool = True
    shared_matching: bool = False
    match_stride: int = 1

    min_candidate_score: float = 0.0
    merge_rule: MergeRule = "union"
    label_priority: LabelPriority = "area"
    fill_only: bool = False
    growth_cap: float | None = None
    require_agreement: bool = False


@torch.no_grad()
def transfer_labels(
    predictions_t: InstanceSet,
    labels_t: InstanceSet,
    predictions_s: InstanceSet,
    labels_s: InstanceSet,
    flow_st: Tensor,
    flow_ts: Tensor,
    settings: TransferSettings,
) -> tuple[InstanceSet, InstanceSet, TransferDiagnostics]:
    """(targets_t, targets_s, diagnostics): stage-1 labels of both frames plus what the other frame contributes.

    predictions_*: current detections of the two H×W frames · labels_*: their stage-1 labels · flow_st (2,H,W)
    = F_{s→t}, lives on s, brings masks **from t to s**; flow_ts (2,H,W) = F_{t→s}, on t, brings masks from s to t;
    (dx, dy) in pixels. Any set may be empty. Targets: bool masks at the same H×W, tight boxes. A box or score of a
    prediction that is not finite: the pair keeps its stage-1 labels and counts as skipped (§3.8). Flow that is not
    finite carries nothing there. The same inside an autocast region as outside.
    """
    if not _all_finite(predictions_t, predictions_s):
        skipped = TransferDiagnostics(pairs=1, skipped_pairs=1)
        return drop_empty_masks(labels_t), drop_empty_masks(labels_s), skipped
    # Autocast would count the pixels that masks share in half precision, which ends at 65,504 and rounds before.
    with torch.autocast(flow_st.device.type, enabled=False):
        return _transfer(predictions_t, labels_t, predictions_s, labels_s, flow_st, flow_ts, settings)


def _all_finite(*frames: InstanceSet) -> bool:
    """Whether every box and score of these frames is a number; one look for all of them."""
    values = [value.flatten() for instances in frames for value in (instances.boxes_xyxy, instances.scores)]
    return bool(torch.isfinite(torch.cat(values)).all())


def _transfer(
    predictions_t: InstanceSet,
    labels_t: InstanceSet,
    predictions_s: InstanceSet,
    labels_s: InstanceSet,
    flow_st: Tensor,
    flow_ts: Tensor,
    settings: TransferSettings,
) -> tuple[InstanceSet, InstanceSet, TransferDiagnostics]:
    """What `transfer_labels` returns for predictions that are finite."""
    found_t = _candidates(predictions_t, labels_t, settings)
    found_s = _candidates(predictions_s, labels_s, settings)
    matched = 0
    if settings.inter_frame:
        to_s, to_t = _match_both_ways(found_t, found_s, flow_st, flow_ts, settings)
        matched = len(to_s) + len(to_t)
        new_s = _assign(found_t, labels_t, found_s, to_s, settings)
        new_t = _assign(found_s, labels_s, found_t, to_t, settings)
    elif settings.intra_frame:
        new_t = self_labels(found_t, labels_t, gate_box_iou=settings.gate_box_iou)
        new_s = self_labels(found_s, labels_s, gate_box_iou=settings.gate_box_iou)
    else:
        new_t = TransferredLabels.empty(labels_t.size, labels_t.masks.device)
        new_s = TransferredLabels.empty(labels_s.size, labels_s.masks.device)
    targets_t, counts_t = _combine(labels_t, new_t, settings)
    targets_s, counts_s = _combine(labels_s, new_s, settings)
    counts = TransferDiagnostics(
        pairs=1,
        predictions=len(predictions_t) + len(predictions_s),
        expanded=len(found_t) + len(found_s),
        matches=matched,
        transferred=len(new_t) + len(new_s),
    )
    return targets_t, targets_s, counts + counts_t + counts_s


def _candidates(predictions: InstanceSet, labels: InstanceSet, settings: TransferSettings) -> InstanceSet:
    """P_exp of one frame, or P where intra-frame matching is off."""
    predictions = predictions.select(predictions.scores >= settings.min_candidate_score)
    if settings.intra_frame:
        return expand_predictions(predictions, labels, min_box_iou=settings.intra_box_iou)
    return drop_empty_masks(predictions)


def _match_both_ways(
    found_t: InstanceSet, found_s: InstanceSet, flow_st: Tensor, flow_ts: Tensor, settings: TransferSettings
) -> tuple[FrameMatches, FrameMatches]:
    """(t→s, s→t) matches; with `shared_matching` the second are the first seen from s."""
    options = {"min_edge": settings.min_edge, "match_stride": settings.match_stride}
    to_s = match_frames(found_t, found_s, flow_st, **options)
    to_t = match_frames(found_s, found_t, flow_ts, **options)
    if settings.shared_matching:
        to_t = to_s.reversed(to_t.warped_masks)
    return to_s, to_t


def _assign(
    source: InstanceSet,
    source_labels: InstanceSet,
    target: InstanceSet,
    matches: FrameMatches,
    settings: TransferSettings,
) -> TransferredLabels:
    return assign_labels(
        source,
        source_labels,
        target,
        matches,
        gate_box_iou=settings.gate_box_iou,
        merge_rule=settings.merge_rule,
    )


def _combine(
    labels: InstanceSet, transferred: TransferredLabels, settings: TransferSettings
) -> tuple[InstanceSet, TransferDiagnostics]:
    """Targets of one frame after the optional filters and IoM-NMS, with their counts."""
    allowed = limit_growth(transferred, settings.growth_cap)
    if settings.require_agreement:
        allowed = require_target_agreement(
            allowed, labels, gate_box_iou=settings.gate_box_iou, iom_threshold=settings.iom_threshold
        )
    if settings.fill_only:
        rivals = contested(
            allowed.instances,
            labels,
            iom_threshold=settings.iom_threshold,
            class_aware=settings.class_aware_iom,
        )
        allowed = allowed.select(~rivals.any(dim=1))
    targets, origin = combine_labels(
        labels,
        allowed.instances,
        iom_nms=settings.iom_nms,
        iom_threshold=settings.iom_threshold,
        class_aware=settings.class_aware_iom,
        priority=settings.label_priority,
    )
    return targets, frame_diagnostics(labels, allowed, targets, origin)
