"""IRNet: a boundary branch and a displacement branch over a frozen backbone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from wsvis_core.backbones import Backbone
from wsvis_core.errors import WsvisError

OUTPUT_STRIDE = 4
BOUNDARY_CHANNELS, BOUNDARY_GROUPS = 32, 4
DISPLACEMENT_CHANNELS = (64, 128, 256, 256, 256)
DISPLACEMENT_GROUPS = (8, 16, 16, 16, 16)


class Unit(nn.Module):
    """1x1 convolution without bias, group norm, bilinear upsampling by a whole factor (1 = none), ReLU."""

    def __init__(self, inputs: int, outputs: int, groups: int, factor: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.GroupNorm(groups, outputs)
        self.factor = factor

    def forward(self, values: Tensor) -> Tensor:
        values = self.norm(self.convolution(values))
        if self.factor > 1:
            values = interpolate(values, scale_factor=self.factor, mode="bilinear", align_corners=False)
        return values.relu()


class BoundaryBranch(nn.Module):
    """Five backbone maps -> one boundary logit per stride-4 cell."""

    def __init__(self, channels: tuple[int, ...], strides: tuple[int, ...], width: float) -> None:
        super().__init__()
        outputs = scaled_channels(BOUNDARY_CHANNELS, BOUNDARY_GROUPS, width)
        self.units = nn.ModuleList(
            Unit(inputs, outputs, BOUNDARY_GROUPS, _factor(stride, OUTPUT_STRIDE))
            for inputs, stride in zip(channels, strides, strict=True)
        )
        self.logit = nn.Conv2d(5 * outputs, 1, 1)

    def forward(self, stages: tuple[Tensor, ...]) -> Tensor:
        maps = [unit(stage) for unit, stage in zip(self.units, stages, strict=True)]
        return self.logit(_cropped_concatenation(maps))


class DisplacementBranch(nn.Module):
    """Five backbone maps -> displacement (y, x) per stride-4 cell, before the mean shift."""

    def __init__(self, channels: tuple[int, ...], strides: tuple[int, ...], width: float) -> None:
        super().__init__()
        middle = strides[2]
        targets = (OUTPUT_STRIDE, OUTPUT_STRIDE, middle, middle, middle)
        sizes = [
            scaled_channels(count, groups, width)
            for count, groups in zip(DISPLACEMENT_CHANNELS, DISPLACEMENT_GROUPS, strict=True)
        ]
        self.units = nn.ModuleList(
            Unit(channels[i], sizes[i], DISPLACEMENT_GROUPS[i], _factor(strides[i], targets[i])) for i in range(5)
        )
        last, groups = sizes[-1], DISPLACEMENT_GROUPS[-1]
        self.deep = Unit(sum(sizes[2:]), last, groups, _factor(middle, OUTPUT_STRIDE))
        self.joint = Unit(sizes[0] + sizes[1] + last, last, groups)
        self.vector = nn.Conv2d(last, 2, 1, bias=False)

    def forward(self, stages: tuple[Tensor, ...]) -> Tensor:
        maps = [unit(stage) for unit, stage in zip(self.units, stages, strict=True)]
        deep = self.deep(_cropped_concatenation(maps[2:]))
        return self.vector(self.joint(_cropped_concatenation([*maps[:2], deep])))


class IRNet(nn.Module):
    """Boundary logits and displacements of images, at stride 4.

    forward: images (B, 3, H, W), normalised -> logits (B, 1, h, w) with boundary = sigmoid(logit), and
    displacement (B, 2, h, w), order (y, x), in stride-4 cells; `h = (H - 1) // 4 + 1`, w alike. A cell's centroid
    is its position plus its displacement. Only differences of displacements are learnt; `mean_displacement` (y, x),
    measured after training, is subtracted in inference mode and ignored while training.

    width scales the branches' channels (1 = the paper's; each stays a multiple of its group count). The backbone
    keeps its inference mode and gets no gradient unless `train_backbone`.
    """

    mean_displacement: Tensor

    def __init__(self, backbone: Backbone, *, width: float = 1.0, train_backbone: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.train_backbone = train_backbone
        self.boundary_branch = BoundaryBranch(backbone.channels, backbone.strides, width)
        self.displacement_branch = DisplacementBranch(backbone.channels, backbone.strides, width)
        self.register_buffer("mean_displacement", torch.zeros(2))
        self.train()

    def train(self, mode: bool = True) -> IRNet:
        super().train(mode)
        self.backbone.train(mode and self.train_backbone)
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.train_backbone):
            stages = self.backbone(images)
        displacement = self.displacement_branch(stages)
        if not self.training:
            displacement = displacement - self.mean_displacement.view(1, 2, 1, 1)
        return self.boundary_branch(stages), displacement

    def boundary_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters at the base learning rate (the backbone's too when it trains)."""
        yield from self.boundary_branch.parameters()
        if self.train_backbone:
            yield from self.backbone.parameters()

    def displacement_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters at ten times the base learning rate."""
        return self.displacement_branch.parameters()


def scaled_channels(count: int, groups: int, width: float) -> int:
    """`count * width` as the nearest multiple of `groups`, at least `groups`."""
    return max(1, round(count * width / groups)) * groups


def _factor(stride: int, target: int) -> int:
    if stride % target:
        raise WsvisError(f"a backbone stage of stride {stride} cannot be upsampled to stride {target}")
    return stride // target


def _cropped_concatenation(maps: list[Tensor]) -> Tensor:
    """Maps joined along channels, each cropped (top left) to the size of the first."""
    height, width = maps[0].shape[-2:]
    return torch.cat([values[..., :height, :width] for values in maps], dim=1)
