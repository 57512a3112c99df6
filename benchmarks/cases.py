"""The benchmark cases: each prepares its data once and gives two calls that do the same work."""

from __future__ import annotations

import torch

from benchmarks.case import Call, Case
from benchmarks.crf_case import prepare_crf
from benchmarks.stage1_cases import STAGE1_CASES
from wsvis_core.backbones import build_backbone
from wsvis_core.instances import InstanceSet
from wsvis_core.mask_ops import mask_iou
from wsvis_core.maskconsist.transfer import TransferSettings
from wsvis_core.segmentation.builder import build_segmenter
from wsvis_core.segmentation.step import MaskConsistStep


def _iou() -> tuple[Call, Call]:
    masks = torch.rand(100, 240, 428, generator=torch.Generator().manual_seed(0)) > 0.5

    def pairs() -> list[list[float]]:
        return [[float((a & b).sum() / (a | b).sum()) for b in masks] for a in masks]

    return (lambda: mask_iou(masks, masks)), pairs


def _step() -> tuple[Call, Call]:
    """A MaskConsist step against a plain Mask R-CNN step on the same images, labels and network."""
    torch.manual_seed(0)
    backbone = build_backbone("resnet50", output_stride=32)
    segmenter = build_segmenter(backbone, 4, max_detections=30)
    images = [torch.rand(3, 480, 854) * 255 for _ in range(2)]
    masks = torch.zeros(3, 480, 854, dtype=torch.bool)
    for i in range(3):
        masks[i, 100 : 300 + 20 * i, 100 + 200 * i : 300 + 200 * i] = True
    labels = [InstanceSet.from_masks(masks, torch.tensor([0, 1, 2]))] * 2
    flows = [(torch.zeros(2, 480, 854), torch.zeros(2, 480, 854))]

    def step_of(transfer: TransferSettings | None) -> Call:
        model = MaskConsistStep(segmenter, transfer).train()

        def step() -> None:
            model.zero_grad()
            losses, _ = model(images, labels, flows)
            torch.stack(list(losses.values())).sum().backward()

        return step

    return step_of(TransferSettings()), step_of(None)


CASES = [
    *STAGE1_CASES,
    Case("CRF, 288×512, 3 labels, two decisions, kernels included", "sum over offsets", prepare_crf, (3, 1)),
    Case("mask IoU, 100×100 masks of 240×428", "loop over pairs", _iou),
    Case("MaskConsist step, ResNet-50-FPN, 2×480×854, 30 predictions", "plain Mask R-CNN step", _step, (3, 3)),
]
