"""Backward warping and the geometry rules of flow fields. Pure torch.

Convention everywhere: `F_{a→b}` lives on frame a's pixels, channels (u, v) = displacement in (x, y), in pixels of
the array it is stored in, and `I_a(p) ≈ I_b(p + F_{a→b}(p))`. So data of frame b comes to frame a's grid by
`backward_warp(data_b, F_{a→b})`; to bring a mask from t to s one needs `F_{s→t}`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def backward_warp(values: Tensor, flow: Tensor) -> Tensor:
    """values at p + flow(p) (§0): bilinear, zero outside the frame; a pixel centre has integer coordinates.

    values (...,C,H,W) float, flow (...,2,H,W) float in pixels → (...,C,H,W) float. Differentiable in both.
    """
    batch = values.reshape(-1, *values.shape[-3:])
    fields = flow.reshape(-1, 2, *values.shape[-2:]).to(batch.dtype)
    return _sample(batch, _sampling_grid(fields).expand(len(batch), -1, -1, -1)).reshape(values.shape)


def _sampling_grid(flow: Tensor) -> Tensor:
    """Where `grid_sample` reads for every pixel: p + flow(p). flow (B,2,H,W) → (B,H,W,2)."""
    height, width = flow.shape[-2:]
    ys, xs = torch.meshgrid(
        torch.arange(height, device=flow.device, dtype=flow.dtype),
        torch.arange(width, device=flow.device, dtype=flow.dtype),
        indexing="ij",
    )
    # grid_sample with align_corners=True maps pixel 0 to -1 and pixel W-1 to +1.
    gx = 2 * (xs + flow[:, 0]) / max(width - 1, 1) - 1
    gy = 2 * (ys + flow[:, 1]) / max(height - 1, 1) - 1
    return torch.stack([gx, gy], dim=-1)


def _sample(batch: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(batch, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def warp_masks(masks: Tensor, flow: Tensor, *, threshold: float = 0.5, chunk: int = 8) -> Tensor:
    """Masks carried along a flow: backward warp, then ≥ threshold (docs/method.md §3.3).

    masks (N,H,W) bool on frame t, flow (2,H,W) = F_{s→t} → (N,H,W) bool on frame s. A mask that leaves the
    frame becomes empty. `chunk` masks at a time are real numbers: it bounds memory, and on a CPU halves the time.
    """
    if len(masks) == 0:
        return masks
    grid = _sampling_grid(flow[None].float())
    return torch.cat([_sample(part[None].float(), grid)[0] >= threshold for part in masks.split(chunk)])


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Flow resized to `size` = (H', W'): bilinear (align_corners=False), u times W'/W, v times H'/H.

    flow (...,2,H,W) float32 → (...,2,H',W').
    """
    height, width = flow.shape[-2:]
    if (height, width) == tuple(size):
        return flow
    batch = flow.reshape(-1, 2, height, width)
    resized = F.interpolate(batch, size=tuple(size), mode="bilinear", align_corners=False)
    factor = resized.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)
    return (resized * factor).reshape(*flow.shape[:-2], *size)


def flip_flow_horizontal(flow: Tensor) -> Tensor:
    """Flow of horizontally mirrored frames: mirrored along W, u negated. flow (...,2,H,W)."""
    sign = flow.new_tensor([-1.0, 1.0]).view(2, 1, 1)
    return flow.flip(-1) * sign
