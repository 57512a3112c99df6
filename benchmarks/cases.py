"""The benchmark cases: each prepares its data once and gives two calls that do the same work."""

from __future__ import annotations

import torch

from benchmarks.case import Call, Case
from benchmarks.crf_case import prepare_crf
from benchmarks.stage1_cases import STAGE1_CASES
from wsvis_core.mask_ops import mask_iou


def _iou() -> tuple[Call, Call]:
    masks = torch.rand(100, 240, 428, generator=torch.Generator().manual_seed(0)) > 0.5

    def pairs() -> list[list[float]]:
        return [[float((a & b).sum() / (a | b).sum()) for b in masks] for a in masks]

    return (lambda: mask_iou(masks, masks)), pairs


CASES = [
    *STAGE1_CASES,
    Case("CRF, 288×512, 3 labels, two decisions, kernels included", "sum over offsets", prepare_crf, (3, 1)),
    Case("mask IoU, 100×100 masks of 240×428", "loop over pairs", _iou),
]
