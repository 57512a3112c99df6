"""Moving between a frame and the small square grid of a region: pooling features, projecting and pasting masks.

One convention throughout: pixel k of a frame covers [k, k+1) and has its centre at k + 0.5, as boxes do. So
projecting a mask into its box and pasting it back is the identity up to interpolation, and mirroring commutes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align


class PyramidRoIAlign(nn.Module):
    """RoIAlign that reads each box from the pyramid level which suits its size (FPN, eq. 1).

    forward: features by level name, each (B,C,h,w); boxes per image (R_i,4) xyxy pixels → (ΣR_i,C,S,S).
    A box of side √area = `canonical_size` reads stride 16, half of it stride 8, and so on, within the levels given.
    Strides are stated, not inferred from shapes, so padding and unusual pyramids cannot mislead it.
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
        batch = torch.cat([torch.full_like(b[:, :1], i) for i, b in enumerate(boxes)])
        regions = torch.cat([batch, torch.cat(list(boxes))], dim=1)
        level = self.level_of(regions[:, 1:])
        order = torch.argsort(level, stable=True)
        parts = [
            roi_align(
                features[name],
                regions[level == i].to(features[name].dtype),
                self.output_size,
                spatial_scale=1 / stride,
                sampling_ratio=self.sampling_ratio,
                aligned=True,
            )
            for i, (name, stride) in enumerate(self.strides.items())
        ]
        return torch.cat(parts)[torch.argsort(order)]

    def level_of(self, boxes: Tensor) -> Tensor:
        """Position of the level each box is read from. boxes (R,4) → (R,) int64."""
        side = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1).sqrt()
        wanted = 16 * 2 ** torch.floor(torch.log2(side / self.canonical_size + 1e-6))
        strides = wanted.new_tensor(list(self.strides.values()))
        return (torch.searchsorted(strides, wanted.contiguous(), right=True) - 1).clamp(min=0)


def project_masks(masks: Tensor, boxes: Tensor, owners: Tensor, size: int) -> Tensor:
    """Masks as seen inside boxes, on a size×size grid: the training target of the mask head.

    masks (G,H,W) bool, boxes (R,4) xyxy pixels, owners (R,) index into masks → (R,size,size) float32 in [0,1].
    """
    regions = torch.cat([owners[:, None].to(boxes.dtype), boxes], dim=1)
    return roi_align(masks[:, None].to(boxes.dtype), regions, size, aligned=True)[:, 0]


def paste_masks(
    probabilities: Tensor, boxes: Tensor, size: tuple[int, int], *, threshold: float = 0.5, chunk: int = 64
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
