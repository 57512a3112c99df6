"""The benchmark cases: each prepares its data once and gives two calls that do the same work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wsvis_core.backbones import build_backbone
from wsvis_core.flowirn.losses import pair_affinity
from wsvis_core.flowirn.paths import ordered_directions, path_offsets, reach
from wsvis_core.flowirn.random_walk import random_walk, transposed_transition_matrix
from wsvis_core.instances import InstanceSet
from wsvis_core.mask_ops import mask_iou
from wsvis_core.maskconsist.transfer import TransferSettings
from wsvis_core.segmentation.builder import build_segmenter
from wsvis_core.segmentation.step import MaskConsistStep

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A benchmark: its name, what it is compared with, and a function that gives (ours, alternative)."""

    name: str
    alternative: str
    prepare: Callable[[], tuple[Call, Call]]
    repeats: int = 5


def _walk() -> tuple[Call, Call]:
    generator = torch.Generator().manual_seed(0)
    boundary = torch.rand(36, 64, generator=generator) ** 3
    seeds = torch.rand(8, 36, 64, generator=generator)

    def dense() -> Tensor:
        matrix = transposed_transition_matrix(boundary).to_dense()
        for _ in range(8):
            matrix = matrix @ matrix
        return (seeds * (1 - boundary)).flatten(1) @ matrix.T

    return (lambda: random_walk(seeds, boundary)), dense


def _affinity() -> tuple[Call, Call]:
    boundary = torch.rand(2, 128, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def ours() -> None:
        pair_affinity(boundary, 10).sum().backward()

    def gather() -> None:
        """Index every path point, then take the maximum: the published scheme."""
        margin = reach(10)
        height, width = 128 - margin, 128 - 2 * margin
        total = boundary.new_zeros(())
        for direction in ordered_directions(10):
            views = [
                boundary[:, dy : dy + height, margin + dx : margin + dx + width] for dy, dx in path_offsets(direction)
            ]
            total = total + (1 - torch.stack(views).amax(dim=0)).sum()
        total.backward()

    return ours, gather


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
    Case("random walk, 36×64 cells, 8 seeds", "dense matrix, 8 squarings", _walk, repeats=3),
    Case("affinity, 2×128×128, radius 10, forward + backward", "stack every path, then maximum", _affinity),
    Case("mask IoU, 100×100 masks of 240×428", "loop over pairs", _iou, repeats=3),
    Case("MaskConsist step, ResNet-50-FPN, 2×480×854, 30 predictions", "plain Mask R-CNN step", _step, repeats=3),
]
