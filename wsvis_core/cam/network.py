"""The CAM classifier of IRN (§1.2): backbone, global average pooling, 1×1 convolution without bias."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wsvis_core.backbones import Backbone, build_backbone, norm_for
from wsvis_core.config import CamSettings


class CamNet(nn.Module):
    """Multi-label frame classifier whose last convolution, applied without pooling, gives class activation maps.

    The gradient stops after stage `frozen_stages` (IRN: 2, layer2), so only later stages and the classifier train.
    """

    def __init__(self, backbone: Backbone, num_classes: int, *, frozen_stages: int = 2) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Conv2d(backbone.channels[-1], num_classes, 1, bias=False)
        self._frozen_stages = frozen_stages
        frozen = ["conv1", "bn1", *(f"layer{i}" for i in range(1, frozen_stages + 1))]
        for name in frozen if frozen_stages else []:
            getattr(backbone, name).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B,C) of normalised images (B,3,H,W)."""
        features = self.backbone(images)[-1]
        return self.classifier(F.adaptive_avg_pool2d(features, 1)).flatten(1)

    def activation_maps(self, images: Tensor) -> Tensor:
        """ReLU class activation maps (B,C,h,w) at the backbone's output stride."""
        return F.relu(self.classifier(self.backbone(images)[-1]))

    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters of the classifier (trained at a higher rate)."""
        return list(self.classifier.parameters())

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Parameters of the backbone stages that train."""
        return [p for p in self.backbone.parameters() if p.requires_grad]


def build_cam_net(settings: CamSettings, num_classes: int, *, pretrained: bool) -> CamNet:
    """The classifier of a config; pretrained=False leaves the backbone as initialised (weights are loaded after)."""
    backbone = build_backbone(
        settings.backbone,
        output_stride=settings.output_stride,
        weights=settings.backbone_weights if pretrained else "none",
        norm=norm_for(settings.backbone_weights, "frozen_batch"),
    )
    return CamNet(backbone, num_classes, frozen_stages=settings.frozen_stages)
