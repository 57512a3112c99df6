"""Moving between a frame and the small square grid of a region: pooling features, projecting and pasting masks.

One convention throughout: pixel k of a frame covers [k, k+1) and has its centre at k + 0.5, as boxes do. So
projecting a mask into its box and pasting it back is the identity up to interpolation, and mirroring commutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align


class PyramidRoIAlign(nn.Module):
    """RoIAlign that reads each box from the pyramid level which suits its size (FPN, eq. 1).

    forward: features by level name, each (B,C,h,w); boxes per image (R_i,4) xyxy pixels → (ΣR_i,C,S,S).
    A box of side √area = `canonical_size` reads stride 16, half of it stride 8, and so on, within the levels given.
    Strides are stated, not inferred from shapes, so padding and unusual pyramids cannot mislead it. Boxes get no
    gradient. On a CPU the result lies channels last.
    """

    def __init__(
        self, strides: dict[str, int], output_size: int, *, sampling_ratio: int = 2, canonical_size: float = 224
    ) -> None:
        super().__init__()
        self.strides = dict(strides)
        self.output_size = output_size
        self.sampling_ratio = sampling_ratio
        self.canonical_size = canonical_size

    def forward(
        self, features: dict[str, Tensor], boxes: Sequence[Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        maps = [features[name] for name in self.strides]
        batch = torch.cat([torch.full_like(b[:, :1], i) for i, b in enumerate(boxes)])
        # Single precision whatever the features have: half of it would move a box at 800 px by a pixel or more.
        regions = torch.cat([batch, torch.cat(list(boxes))], dim=1).detach().float()
        level = self.level_of(regions[:, 1:])
        # torchvision's CPU kernel reads one number at a time. Sums over whole pixels took a tenth of its time, forward
        # and backward (1000 boxes, 256 channels, one AVX-512 thread: 0.17 s instead of 1.4).
        if regions.device.type == "cpu" and self.sampling_ratio > 0:
            return self._sum_pixels(maps, regions, level)
        return self._align_levels(maps, regions, level)

    def _align_levels(self, maps: list[Tensor], regions: Tensor, level: Tensor) -> Tensor:
        """RoIAlign by torchvision, level by level. regions (R,5): image, then box in pixels → (R,C,S,S)."""
        order = torch.argsort(level, stable=True)
        parts = [
            roi_align(
                values.float(),
                regions[level == i],
                self.output_size,
                spatial_scale=1 / stride,
                sampling_ratio=self.sampling_ratio,
                aligned=True,
            )
            for i, (values, stride) in enumerate(zip(maps, self.strides.values(), strict=True))
        ]
        return torch.cat(parts)[torch.argsort(order)].to(maps[0].dtype)

    def _sum_pixels(self, maps: list[Tensor], regions: Tensor, level: Tensor) -> Tensor:
        """The same up to rounding: each cell is a weighted sum of pixels, read with all their channels at once."""
        pixels = torch.cat([values.permute(0, 2, 3, 1).flatten(0, 2) for values in maps]).float()
        index, weights = self._pixels_of_cells([values.shape for values in maps], regions, level)
        cells = F.embedding_bag(index.flatten(0, 2), pixels, per_sample_weights=weights.flatten(0, 2), mode="sum")
        return cells.unflatten(0, index.shape[:3]).permute(0, 3, 1, 2).to(maps[0].dtype)

    def _pixels_of_cells(self, shapes: Sequence[torch.Size], regions: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Which pixels make up a cell, and how much of each: (R,S,S,K) int64 and float32.

        Pixels count through levels, images, rows and columns. K = (2 · sampling_ratio)²: two pixels for a sample
        along either side.
        """
        before = [0, *accumulate(batch * height * width for batch, _, height, width in shapes)][:-1]
        start = level.new_tensor(before)[level]
        height, width = level.new_tensor([list(shape[-2:]) for shape in shapes])[level].unbind(1)
        stride = regions.new_tensor(list(self.strides.values()))[level]
        x0, y0, x1, y1 = (regions[:, 1:] / stride[:, None] - 0.5).unbind(1)
        rows, row_weights = _line_of_cells(y0, y1, height, self.output_size, self.sampling_ratio)
        columns, column_weights = _line_of_cells(x0, x1, width, self.output_size, self.sampling_ratio)
        start = start + regions[:, 0].long() * height * width
        rows = start[:, None, None] + rows * width[:, None, None]
        index = rows[:, :, None, :, None] + columns[:, None, :, None, :]
        weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
        return index.flatten(3), weights.flatten(3)

    def level_of(self, boxes: Tensor) -> Tensor:
        """Position of the level each box is read from. boxes (R,4) → (R,) int64."""
        side = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1).sqrt()
        wanted = 16 * 2 ** torch.floor(torch.log2(side / self.canonical_size + 1e-6))
        strides = wanted.new_tensor(list(self.strides.values()))
        return (torch.searchsorted(strides, wanted.contiguous(), right=True) - 1).clamp(min=0)


def _line_of_cells(low: Tensor, high: Tensor, length: Tensor, cells: int, samples: int) -> tuple[Tensor, Tensor]:
    """Pixels that the cells of a line from `low` to `high` read on an axis of `length` pixels, and their weights.

    low, high (R,) float, pixel centres at whole numbers; length (R,) int64 → (R,cells,2·samples) int64 and float32.
    A sample is read bilinearly; up to a pixel outside it reads the border, further out nothing (RoIAlign's rule).
    """
    centres = torch.arange(cells * samples, device=low.device) + 0.5
    position = low[:, None] + centres * ((high - low) / (cells * samples))[:, None]
    inside = (position >= -1) & (position <= length[:, None])
    position = position.clamp(min=0).minimum(length[:, None] - 1)
    first = position.floor()
    share = torch.stack([1 - (position - first), position - first], dim=2) * inside[:, :, None] / samples
    pixels = torch.stack([first, (first + 1).minimum(length[:, None] - 1)], dim=2).long()
    return pixels.unflatten(1, (cells, samples)).flatten(2), share.unflatten(1, (cells, samples)).flatten(2)


def project_masks(masks: Tensor, boxes: Tensor, owners: Tensor, size: int) -> Tensor:
    """Masks as seen inside boxes, on a size×size grid: the training target of the mask head.

    masks (G,H,W) bool, boxes (R,4) xyxy pixels, owners (R,) index into masks → (R,size,size) float32 in [0,1].
    """
    regions = torch.cat([owners[:, None].to(boxes.dtype), boxes], dim=1)
    return roi_align(masks[:, None].to(boxes.dtype), regions, size, aligned=True)[:, 0]


def paste_masks(
    probabilities: Tensor, boxes: Tensor, size: tuple[int, int], *, threshold: float = 0.5, chunk: int = 16
) -> Tensor:
    """Frame-sized masks from small ones: bilinear inside the box, nothing outside, then ≥ threshold.

    probabilities (N,S,S) in [0,1], boxes (N,4) xyxy pixels, size = (H,W) → (N,H,W) bool. Bilinear resampling on an
    axis-aligned box is two matrix products per mask, `rows · mask · columnsᵀ`; `chunk` masks at a time bound memory.
    """
    height, width = size
    pasted = torch.zeros((len(boxes), height, width), dtype=torch.bool, device=boxes.device)
    for start in range(0, len(boxes), chunk):
        part = slice(start, start + chunk)
        grid = probabilities.shape[-1]
        rows = _interpolation(boxes[part, 1], boxes[part, 3], height, grid)
        columns = _interpolation(boxes[part, 0], boxes[part, 2], width, grid)
        values = rows @ probabilities[part].float() @ columns.transpose(1, 2)
        pasted[part] = values >= threshold
    return pasted


def _interpolation(low: Tensor, high: Tensor, pixels: int, grid: int) -> Tensor:
    """(N,pixels,grid) weights that read each pixel centre from a grid spanning [low, high); 0 outside of it."""
    centres = torch.arange(pixels, device=low.device, dtype=torch.float32) + 0.5
    extent = (high - low).float().clamp(min=1e-6)
    position = (centres[None] - low[:, None].float()) / extent[:, None] * grid - 0.5
    inside = (position >= -0.5) & (position < grid - 0.5)
    cells = torch.arange(grid, device=low.device, dtype=torch.float32)
    weights = (1 - (position.clamp(0, grid - 1)[..., None] - cells).abs()).clamp(min=0)
    return weights * inside[..., None]
