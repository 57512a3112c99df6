"""One training step: plain Mask R-CNN, or MaskConsist on frame pairs, in a single `forward`.

A single forward, because distributed training and hooks see nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist.diagnostics import TransferDiagnostics
from wsvis_core.maskconsist.intra_frame import drop_empty_masks
from wsvis_core.maskconsist.transfer import TransferSettings, transfer_labels
from wsvis_core.segmentation.interface import DetectorState, SegmenterBackend

FlowPair = tuple[Tensor, Tensor]


class MaskConsistStep(nn.Module):
    """encode → predict → transfer → losses over one backbone pass (§3.7).

    segmenter: the backend that learns. transfer: None trains a plain Mask R-CNN on the same code. start_iteration:
    before it the targets are the stage-1 labels (§3.8: with few classes an untrained box head already scores above
    the threshold; 0 for YTVIS, the end of the warm-up for Cityscapes). empty_targets: "drop" leaves frames without
    any target out of the losses, "keep" trains them as background.
    """

    def __init__(
        self,
        segmenter: SegmenterBackend,
        transfer: TransferSettings | None,
        *,
        start_iteration: int = 0,
        empty_targets: Literal["drop", "keep"] = "drop",
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.transfer = transfer
        self.start_iteration = start_iteration
        self.empty_targets = empty_targets

    def forward(
        self,
        images: Sequence[Tensor],
        labels: Sequence[InstanceSet],
        flows: Sequence[FlowPair] | None = None,
        *,
        iteration: int = 0,
    ) -> tuple[dict[str, Tensor], TransferDiagnostics]:
        """(losses by name, diagnostics) of a batch.

        images: B tensors (3,H,W), RGB 0..255; labels: B sets at the images' sizes. For MaskConsist B = 2k, ordered
        t0, s0, t1, s1, … and flows has k pairs (F_{s→t}, F_{t→s}), each (2,H,W) in pixels. Without transfer any B
        and no flows. Where no frame has a target the losses are zeros that still reach every parameter.
        """
        if len(labels) != len(images):
            raise ValueError(f"{len(labels)} label sets for {len(images)} images")
        state = self.segmenter.encode(images)
        targets, counts = [drop_empty_masks(item) for item in labels], TransferDiagnostics()
        if self.transfer is not None and iteration >= self.start_iteration:
            targets, counts = self._transfer(state, targets, flows, self.transfer)
        return self._losses(state, targets), counts

    def _transfer(
        self,
        state: DetectorState,
        labels: list[InstanceSet],
        flows: Sequence[FlowPair] | None,
        settings: TransferSettings,
    ) -> tuple[list[InstanceSet], TransferDiagnostics]:
        """Targets of every frame from the current predictions; a pair with a non-finite one keeps its labels."""
        if flows is None or len(labels) != 2 * len(flows):
            raise ValueError(
                f"{len(labels)} images need {len(labels) / 2:g} flow pairs, got {len(flows or ())}; order the batch "
                "t0, s0, t1, s1, …"
            )
        predictions = self.segmenter.predict(state)
        usable = state.finite()
        targets, counts = list(labels), TransferDiagnostics()
        for pair, (flow_st, flow_ts) in enumerate(flows):
            t, s = 2 * pair, 2 * pair + 1
            if not (usable[t] and usable[s]):
                counts += TransferDiagnostics(pairs=1, skipped_pairs=1)
                continue
            targets[t], targets[s], seen = transfer_labels(
                predictions[t], labels[t], predictions[s], labels[s], flow_st, flow_ts, settings
            )
            counts += seen
        return targets, counts

    def _losses(self, state: DetectorState, targets: list[InstanceSet]) -> dict[str, Tensor]:
        kept = [i for i, item in enumerate(targets) if len(item) or self.empty_targets == "keep"]
        if not kept:
            return {"loss_nothing": self._zero()}
        if len(kept) < len(targets):
            state, targets = state.select(kept), [targets[i] for i in kept]
        return self.segmenter.losses(state, targets)

    def _zero(self) -> Tensor:
        """0 with a gradient of 0 for every trainable parameter, as distributed training wants."""
        return torch.stack([p.sum() * 0 for p in self.segmenter.parameters() if p.requires_grad]).sum()
