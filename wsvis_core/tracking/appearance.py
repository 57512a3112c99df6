"""Appearance of proposals from an ImageNet network on crops of the frame (docs/method.md §5.2, option B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from wsvis_core.backbones import build_backbone
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.images import resize_image, to_tensor
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import Rle

CROP = 224
# Crops that go through the network at once: about 1 GB with ResNet-50.
BATCH = 16


class BackboneAppearance:
    """Mean of the last stage of an ImageNet ResNet over a 224×224 crop of each proposal, at length 1.

    name: "resnet50" (2048 numbers), "resnet34" or "resnet18" (512) · weights: "torchvision" or the path of a state
    dict; WsvisError names a file that is missing or does not fit.
    """

    def __init__(self, name: str, weights: str, device: torch.device) -> None:
        backbone = build_backbone(name, output_stride=32, weights=weights, norm="constant_batch")
        self._backbone, self._device = backbone.to(device).eval(), device

    def describe(
        self, dataset: VideoDataset, video: Video, frames: Sequence[EncodedInstances]
    ) -> list[EncodedInstances]:
        """The frames of a video with this appearance (N,D) float32 in place of what they had; reads their pixels."""
        return [
            replace(frame, appearance=self.vectors(dataset.read_frame(video, t), frame.rles) if len(frame) else None)
            for t, frame in enumerate(frames)
        ]

    @torch.inference_mode()
    def vectors(self, image: np.ndarray, rles: Sequence[Rle]) -> np.ndarray:
        """Appearance (N,D) float32 of N masks that are not empty, N ≥ 1, on an image (H,W,3) uint8 RGB."""
        crops = torch.stack([to_tensor(tight_crop(image, rle)) for rle in rles])
        pooled = torch.cat([self._pooled(part.to(self._device)).cpu() for part in crops.split(BATCH)])
        return torch.nn.functional.normalize(pooled, dim=1).numpy()

    def _pooled(self, crops: Tensor) -> Tensor:
        return self._backbone(crops)[-1].mean(dim=(2, 3))


def tight_crop(image: np.ndarray, rle: Rle) -> np.ndarray:
    """The smallest box around a mask, stretched to 224×224: image (H,W,3) uint8 → (224,224,3) uint8."""
    x, y, width, height = (int(v) for v in coco_mask.toBbox(rle))
    return resize_image(np.ascontiguousarray(image[y : y + height, x : x + width]), (CROP, CROP))
