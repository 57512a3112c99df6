"""InstanceSet: the instances of one frame, as they pass between stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wsvis_core.mask_ops import boxes_from_masks


@dataclass(frozen=True)
class InstanceSet:
    """N instances of one frame of H×W pixels. N = 0 is legal everywhere.

    masks (N,H,W) bool · boxes_xyxy (N,4) float32, pixels, `[xmin, ymin, xmax+1, ymax+1]` when derived from a
    mask · classes (N,) int64 in 0..C-1 · scores (N,) float32 · appearance (N,D) float32, L2-normalised, or None.
    """

    masks: Tensor
    boxes_xyxy: Tensor
    classes: Tensor
    scores: Tensor
    appearance: Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.masks)
        if self.masks.ndim != 3 or self.masks.dtype != torch.bool:
            raise ValueError(f"masks must be bool (N,H,W), got {self.masks.dtype} {tuple(self.masks.shape)}")
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value is not None and len(value) != count:
                raise ValueError(f"{field.name} has {len(value)} rows for {count} masks")

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frame in pixels."""
        return self.masks.shape[1], self.masks.shape[2]

    @classmethod
    def empty(cls, height: int, width: int, device: torch.device | str = "cpu") -> InstanceSet:
        """No instance on a frame of height×width."""
        masks = torch.zeros((0, height, width), dtype=torch.bool, device=device)
        return cls.from_masks(masks, torch.zeros(0, dtype=torch.int64, device=device))

    @classmethod
    def from_masks(cls, masks: Tensor, classes: Tensor, scores: Tensor | None = None) -> InstanceSet:
        """Instances with the tight boxes of their masks; scores default to 1."""
        if scores is None:
            scores = torch.ones(len(masks), device=masks.device)
        return cls(masks, boxes_from_masks(masks), classes, scores.float())

    def select(self, index: Tensor | Sequence[int]) -> InstanceSet:
        """The instances at an index (int64 or bool tensor, or a list of positions), in that order."""
        index = torch.as_tensor(index, device=self.masks.device)
        if index.dtype != torch.bool:
            index = index.long()
        return InstanceSet(*(None if value is None else value[index] for value in self._values()))

    def to(self, device: torch.device | str) -> InstanceSet:
        """The same instances on a device."""
        return InstanceSet(*(None if value is None else value.to(device) for value in self._values()))

    @classmethod
    def concatenate(cls, sets: Sequence[InstanceSet]) -> InstanceSet:
        """All instances of at least one set of equal frame size; appearance survives only if all have it."""
        columns = zip(*(item._values() for item in sets), strict=True)
        return cls(*(None if any(v is None for v in column) else torch.cat(column) for column in columns))

    def _values(self) -> list[Tensor | None]:
        return [getattr(self, field.name) for field in fields(self)]
