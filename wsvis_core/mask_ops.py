"""Areas, boxes and overlaps of sets of masks. Pure; accumulates in float32."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def mask_areas(masks: Tensor) -> Tensor:
    """Area in pixels of each mask.

    masks (N,H,W) bool → (N,) float32. Exact up to 2^24 pixels per mask.
    """
    return sum((part.sum(1) for part in _pixel_blocks(masks)), torch.zeros(len(masks), device=masks.device))


# Pixels of every mask that are turned into real numbers at once on a CPU: few enough to stay in its cache.
_BLOCK = 8192


def _pixel_blocks(masks: Tensor) -> Iterator[Tensor]:
    """The pixels of (N,H,W) bool masks as (N,P) float32, block by block; on a GPU all in one."""
    pixels = masks.flatten(1)
    size = _BLOCK if masks.device.type == "cpu" else max(pixels.shape[1], 1)
    return (part.float() for part in pixels.split(size, dim=1))


def boxes_from_masks(masks: Tensor) -> Tensor:
    """Tight boxes `[xmin, ymin, xmax+1, ymax+1]` of masks; zeros for an empty mask.

    masks (N,H,W) bool → (N,4) float32, pixels.
    """
    height, width = masks.shape[-2:]
    columns = masks.any(dim=1)
    rows = masks.any(dim=2)
    x0, x1 = _first_and_last(columns, width)
    y0, y1 = _first_and_last(rows, height)
    boxes = torch.stack([x0, y0, x1 + 1, y1 + 1], dim=1).float()
    return boxes * columns.any(dim=1, keepdim=True)


def _first_and_last(occupied: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Index of the first and last True along dimension 1 of (N,L) bool; (L, -1) when there is none."""
    index = torch.arange(length, device=occupied.device)
    first = torch.where(occupied, index, length).amin(dim=1) if length else index.new_zeros(len(occupied))
    last = torch.where(occupied, index, -1).amax(dim=1) if length else index.new_zeros(len(occupied))
    return first, last


def mask_intersection(a: Tensor, b: Tensor) -> Tensor:
    """Pixels shared by every pair of masks.

    a (N,H,W) bool, b (M,H,W) bool → (N,M) float32, by matrix products accumulated in float32 (areas exceed what
    half precision can hold; exact up to 2^24 pixels).
    """
    shared = torch.zeros((len(a), len(b)), device=a.device)
    for part_a, part_b in zip(_pixel_blocks(a), _pixel_blocks(b), strict=True):
        shared.addmm_(part_a, part_b.T)
    return shared


def mask_unions(masks: Tensor, member: Tensor) -> Tensor:
    """One mask for each group of masks. masks (N,H,W) bool, member (N,G) bool → (G,H,W) bool."""
    counts = [member.float().T @ part for part in _pixel_blocks(masks)]
    return (torch.cat(counts, dim=1) > 0).unflatten(1, masks.shape[1:])


def mask_iou(a: Tensor, b: Tensor) -> Tensor:
    """|A∩B| / |A∪B| of every pair, 0 where the union is empty. a (N,H,W), b (M,H,W) bool → (N,M) float32."""
    intersection = mask_intersection(a, b)
    union = mask_areas(a)[:, None] + mask_areas(b)[None, :] - intersection
    return _safe_ratio(intersection, union)


def mask_iom(a: Tensor, b: Tensor) -> Tensor:
    """|A∩B| / min(|A|,|B|) of every pair, 0 where the smaller is empty (the paper's IoM).

    a (N,H,W), b (M,H,W) bool → (N,M) float32.
    """
    smaller = torch.minimum(mask_areas(a)[:, None], mask_areas(b)[None, :])
    return _safe_ratio(mask_intersection(a, b), smaller)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of every pair of boxes, 0 where the union is empty. a (N,4), b (M,4) xyxy → (N,M) float32."""
    a, b = a.float(), b.float()
    top_left = torch.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=2)
    union = _box_areas(a)[:, None] + _box_areas(b)[None, :] - intersection
    return _safe_ratio(intersection, union)


def _box_areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)


def _safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator.clamp(min=1e-12), torch.zeros_like(numerator))


def resize_nearest(values: Tensor, size: tuple[int, int]) -> Tensor:
    """`values` (..., H, W) of any dtype at another size: every pixel takes the old pixel its centre lies in.

    A centre on the border of two old pixels goes to the right or lower one.
    """
    if values.shape[-2:] == size:
        return values
    # Whole numbers: with real ones, centres that fall between two pixels went to either.
    rows, columns = (
        (2 * torch.arange(new, device=values.device) + 1) * old // (2 * new)
        for new, old in zip(size, values.shape[-2:], strict=True)
    )
    return values[..., rows[:, None], columns]
