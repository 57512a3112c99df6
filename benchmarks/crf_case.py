"""The dense CRF of a frame against a sum of the bilateral kernel over offsets."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from wsvis_core.flowirn.crf import gaussian_sum, label_energy, pairwise_kernels
from wsvis_core.flowirn.label_maps import crf_refinement

HEIGHT, WIDTH, NUM_LABELS, ITERATIONS = 288, 512, 3, 10
BILATERAL_STD, COLOR_STD, SPACING = 50.0, 5.0, 8
Offsets = list[tuple[int, int]]


def prepare_crf() -> tuple[Callable[[], object], Callable[[], object]]:
    """(ours, alternative): both decisions of a frame refined, 3 labels at 288 x 512, 10 iterations, kernels included.

    The alternative sums the bilateral kernel over every 8th offset of both axes within two standard deviations, 244
    pairs of opposite offsets; each stands for the 64 offsets around it.
    """
    image, labels = _frame(), _labels()
    offsets = [
        (dy, dx)
        for dy in range(0, 101, SPACING)
        for dx in range(-96, 101, SPACING)
        if dy**2 + dx**2 <= 100**2 and (dy > 0 or dx > 0)
    ]
    return (lambda: crf_refinement(image)(labels, NUM_LABELS)), (lambda: _offset_sum_crf(image, labels, offsets))


def _frame() -> Tensor:
    """Shaded regions with sensor noise, (3, H, W) uint8."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 9, 16, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic")[0]
    steps = (smooth * 4).round() / 4 * 0.7 + smooth * 0.3
    return (255 * steps + 2 * torch.randn(steps.shape, generator=generator)).clamp(0, 255).to(torch.uint8)


def _labels() -> Tensor:
    """A narrow and a wide decision with two objects, (2, H, W) int64."""
    labels = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.long)
    for i, margin in enumerate((0, 20)):
        labels[i, 80 - margin : 200 + margin, 90 - margin : 190 + margin] = 1
        labels[i, 100 - margin : 220 + margin, 300 - margin : 420 + margin] = 2
    return labels


def _offset_sum_crf(image: Tensor, labels: Tensor, offsets: Offsets) -> Tensor:
    kernels = pairwise_kernels(image.unsqueeze(0))
    colours = image.float() / COLOR_STD
    weights = [_weight(colours, dy, dx) for dy, dx in offsets]
    norm = _offset_sum(torch.ones(1, HEIGHT, WIDTH), offsets, weights).rsqrt()
    energy = label_energy(labels, NUM_LABELS, 0.7, torch.float32)
    beliefs = (-energy).softmax(dim=1)
    for _ in range(ITERATIONS):
        position = gaussian_sum(beliefs * kernels.position_norm, kernels.position_taps) * kernels.position_norm
        bilateral = torch.stack([_offset_sum(item * norm, offsets, weights) for item in beliefs]) * norm
        beliefs = (3 * position + 10 * bilateral - energy).softmax(dim=1)
    return beliefs.argmax(dim=1)


def _weight(colours: Tensor, dy: int, dx: int) -> Tensor:
    near, far = _overlap(colours, dy, dx)
    distance = (near - far).square_().sum(dim=0).clamp_max_(120)
    return SPACING**2 * math.exp(-0.5 * (dy**2 + dx**2) / BILATERAL_STD**2) * (-0.5 * distance).exp()


def _offset_sum(values: Tensor, offsets: Offsets, weights: list[Tensor]) -> Tensor:
    total = values.clone()
    for (dy, dx), weight in zip(offsets, weights, strict=True):
        near, far = _overlap(values, dy, dx)
        near_total, far_total = _overlap(total, dy, dx)
        near_total.addcmul_(far, weight)
        far_total.addcmul_(near, weight)
    return total


def _overlap(values: Tensor, dy: int, dx: int) -> tuple[Tensor, Tensor]:
    left, right = max(0, -dx), WIDTH - max(0, dx)
    return values[..., : HEIGHT - dy, left:right], values[..., dy:, left + dx : right + dx]
