"""Geometry of frame pairs with flow (§3.9): both frames, their labels and both flows get the same transform."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from wsvis_core.flow.warp import flip_flow_horizontal, resize_flow
from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist.intra_frame import drop_empty_masks


@dataclass(frozen=True)
class FramePair:
    """Two frames of one video and what is known of them.

    images (2,3,H,W) uint8 or float32 RGB, t then s · labels: the stage-1 labels of t and s, at H×W ·
    flow_st (2,h,w) = F_{s→t}, on s, and flow_ts (2,h,w) = F_{t→s}, on t: pixels of their own h×w array, which may
    be smaller than the frames until `resize_pair`.
    """

    images: Tensor
    labels: tuple[InstanceSet, InstanceSet]
    flow_st: Tensor
    flow_ts: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of both frames."""
        return self.images.shape[-2], self.images.shape[-1]


def training_size(size: tuple[int, int], short_side: int, max_side: int) -> tuple[int, int]:
    """(H', W') with the short side at `short_side`, or the long side at `max_side` where that is less.

    Rounded to whole pixels; (720, 1280), 480, 1333 → (480, 853).
    """
    factor = min(short_side / min(size), max_side / max(size))
    height, width = (max(1, round(side * factor)) for side in size)
    return height, width


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(…,3,H,W) → (…,3,H',W') float32, bilinear, smoothed when made smaller; values stay in 0..255."""
    batch = image.reshape(-1, *image.shape[-3:]).float()
    if tuple(batch.shape[-2:]) != tuple(size):
        batch = F.interpolate(batch, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)
    return batch.reshape(*image.shape[:-2], *size)


def resize_instances(instances: InstanceSet, size: tuple[int, int]) -> InstanceSet:
    """Instances on a frame of another size: masks by nearest neighbour, tight boxes, vanished ones dropped."""
    if instances.size == tuple(size):
        return drop_empty_masks(instances)
    if len(instances) == 0:
        return InstanceSet.empty(*size, device=instances.masks.device)
    masks = F.interpolate(instances.masks[None].float(), size=tuple(size), mode="nearest-exact")[0] > 0
    return _relabel(instances, masks)


def resize_pair(pair: FramePair, size: tuple[int, int]) -> FramePair:
    """The pair at (H', W'): flows are brought to that size from whatever they were stored at, values rescaled."""
    return FramePair(
        resize_image(pair.images, size),
        (resize_instances(pair.labels[0], size), resize_instances(pair.labels[1], size)),
        resize_flow(pair.flow_st, size),
        resize_flow(pair.flow_ts, size),
    )


def flip_instances(instances: InstanceSet) -> InstanceSet:
    """Instances of the horizontally mirrored frame."""
    return _relabel(instances, instances.masks.flip(-1))


def flip_pair(pair: FramePair) -> FramePair:
    """The horizontally mirrored pair; u of both flows is negated."""
    return FramePair(
        pair.images.flip(-1),
        (flip_instances(pair.labels[0]), flip_instances(pair.labels[1])),
        flip_flow_horizontal(pair.flow_st),
        flip_flow_horizontal(pair.flow_ts),
    )


def crop_pair(pair: FramePair, top: int, left: int, height: int, width: int) -> FramePair:
    """The same window of everything; flow values are unchanged, so they may point outside (read as zero).

    Flows must already have the frames' size. Raises ValueError for a window that is not inside the frames.
    """
    frame_height, frame_width = pair.size
    inside = 0 <= top and 0 <= left and top + height <= frame_height and left + width <= frame_width
    if not inside or pair.flow_st.shape[-2:] != pair.flow_ts.shape[-2:] or pair.flow_st.shape[-2:] != pair.size:
        raise ValueError(
            f"window {height}x{width} at row {top}, column {left} does not fit frames of {frame_height}x"
            f"{frame_width} with flow of {pair.flow_st.shape[-2]}x{pair.flow_st.shape[-1]}"
        )
    rows, columns = slice(top, top + height), slice(left, left + width)
    cropped = [_relabel(item, item.masks[:, rows, columns]) for item in pair.labels]
    return FramePair(
        pair.images[..., rows, columns],
        (cropped[0], cropped[1]),
        pair.flow_st[..., rows, columns],
        pair.flow_ts[..., rows, columns],
    )


def jitter_brightness(pair: FramePair, generator: torch.Generator, strength: float = 0.2) -> FramePair:
    """The pair with each frame's values scaled by its own factor in [1-strength, 1+strength], kept in 0..255."""
    factors = 1 + strength * (2 * torch.rand((2, 1, 1, 1), generator=generator) - 1)
    return replace(pair, images=(pair.images.float() * factors.to(pair.images.device)).clamp(0, 255))


def augment_pair(
    pair: FramePair,
    generator: torch.Generator,
    *,
    short_side: int = 480,
    max_side: int = 1333,
    flip_probability: float = 0.5,
    scale_range: tuple[float, float] = (1.0, 1.0),
    brightness: float = 0.0,
) -> FramePair:
    """A training pair: resized, mirrored with `flip_probability`, optionally with brightness jitter; no crop.

    scale_range: of a random factor on `short_side`, uniform in its logarithm; no random number where it has one value.
    """
    low, high = scale_range
    if low < high:
        short_side = round(short_side * low * (high / low) ** float(torch.rand((), generator=generator)))
    elif low != 1:
        short_side = round(short_side * low)
    pair = resize_pair(pair, training_size(pair.size, short_side, max_side))
    if float(torch.rand((), generator=generator)) < flip_probability:
        pair = flip_pair(pair)
    return jitter_brightness(pair, generator, brightness) if brightness > 0 else pair


def _relabel(instances: InstanceSet, masks: Tensor) -> InstanceSet:
    """The instances with other masks and tight boxes; those left without a pixel are dropped."""
    moved = InstanceSet.from_masks(masks, instances.classes, instances.scores)
    return drop_empty_masks(replace(moved, appearance=instances.appearance))
