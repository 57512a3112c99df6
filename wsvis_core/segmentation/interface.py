"""What a segmenter must offer: one backbone pass, then predictions and losses from the same features.

MaskConsist needs the predictions of the current network before it knows the targets, and promises no extra pass;
hence three calls instead of one `forward`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from wsvis_core.instances import InstanceSet


@dataclass(frozen=True)
class DetectorState:
    """What one `encode` computed for a batch of B images; never modified.

    features: pyramid maps by level name, each (B,C,h,w) · objectness (B,A,h,w) and deltas (B,4A,h,w) per level ·
    anchors (h·w·A,4) per level, the same for every image of the padded batch · image_sizes: (H,W) of each image
    without padding.
    """

    features: dict[str, Tensor]
    objectness: tuple[Tensor, ...]
    deltas: tuple[Tensor, ...]
    anchors: tuple[Tensor, ...]
    image_sizes: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.image_sizes)

    def select(self, images: Sequence[int]) -> DetectorState:
        """The state of some images of the batch, with the graph it came with."""
        index = torch.tensor(list(images), dtype=torch.int64, device=self.objectness[0].device)
        return DetectorState(
            {name: value[index] for name, value in self.features.items()},
            tuple(value[index] for value in self.objectness),
            tuple(value[index] for value in self.deltas),
            self.anchors,
            tuple(self.image_sizes[i] for i in images),
        )

    def finite(self) -> list[bool]:
        """Per image: no NaN or infinity in what its proposals are made of."""
        maps = (*self.objectness, *self.deltas)
        per_map = [torch.isfinite(value.detach()).flatten(1).all(dim=1) for value in maps]
        return torch.stack(per_map).all(dim=0).tolist()


class SegmenterBackend(Protocol):
    """Mask R-CNN behind three calls. Every implementation is an `nn.Module`; class ids are 0..num_classes-1."""

    num_classes: int

    def encode(self, images: Sequence[Tensor]) -> DetectorState:
        """Features and raw proposal outputs, with graph. images: B tensors (3,H,W), RGB 0..255, own sizes."""
        ...

    def predict(
        self,
        state: DetectorState,
        *,
        with_appearance: bool = False,
        output_sizes: Sequence[tuple[int, int]] | None = None,
        classes: Sequence[Tensor | None] | None = None,
    ) -> list[InstanceSet]:
        """Test-style detections per image, without graph; `state` is left as it is.

        Boxes and masks are at each image's unpadded size, or at `output_sizes`, one (H,W) per image. classes: for each
        image the classes that may be detected, bool (C,), which the scores are conditional on; None: all.
        """
        ...

    def losses(self, state: DetectorState, targets: Sequence[InstanceSet]) -> dict[str, Tensor]:
        """Training losses by name, with graph, each a scalar. One target set per image, possibly empty.

        The names are the same everywhere: loss_objectness, loss_rpn_box_reg, loss_classifier, loss_box_reg, loss_mask.
        """
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All learnt tensors, as of `nn.Module`."""
        ...
