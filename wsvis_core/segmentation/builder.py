"""The sizes of a Mask R-CNN, from the paper's down to one that trains on a CPU in minutes, and torchvision's from them.

`detectron2_backend.py` builds detectron2's from the same options.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from wsvis_core.backbones import Backbone
from wsvis_core.errors import WsvisError
from wsvis_core.segmentation.roi_pooling import PyramidRoIAlign
from wsvis_core.segmentation.torchvision_backend import TorchvisionSegmenter

NORM_GROUPS = 8


@dataclass(frozen=True)
class SegmenterOptions:
    """Sizes and thresholds of the Mask R-CNN; the defaults are those of §3.10.

    On a CPU a training step's time goes mostly to the mask head (roi_batch · roi_positive_fraction regions ·
    mask_channels²) and to the two finest pyramid levels (fpn_channels²).

    - trainable_stages: how many of the backbone's five parts learn, counted from the last (3: layer2 to layer4;
      5: all, for a backbone without weights).
    - anchor_sizes: a side in pixels, or several, for each of the five pyramid levels (the backbone's last four maps
      and one at twice the last stride).
    - rpn_iou: (background below, object from). pre_nms, post_nms: proposals per level before NMS, per image after
      it; each (training, test).
    - class_agnostic_masks: one mask per region for all classes, instead of one per class.
    - roi_canonical_size: side in pixels of the boxes that are read at stride 16; half of it at stride 8, and so on.
    - sampling_ratio: samples per side of a cell of RoIAlign; None is each framework's own default (torchvision 2,
      detectron2 one per feature pixel that the cell covers).
    - head_norm: "none", or "group" for group norm in pyramid and mask head (for training from scratch); detectron2's
      mask head then also starts as torchvision's does.
    """

    trainable_stages: int = 3
    fpn_channels: int = 256
    anchor_sizes: Sequence[int | Sequence[int]] = ((32,), (64,), (128,), (256,), (512,))
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0)
    rpn_batch: int = 256
    rpn_positive_fraction: float = 0.5
    rpn_iou: tuple[float, float] = (0.3, 0.7)
    rpn_nms: float = 0.7
    pre_nms: tuple[int, int] = (2000, 1000)
    post_nms: tuple[int, int] = (1000, 1000)
    box_pool_size: int = 7
    representation_size: int = 1024
    box_layers: int = 2
    roi_batch: int = 512
    roi_positive_fraction: float = 0.25
    roi_iou: float = 0.5
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    mask_pool_size: int = 14
    mask_channels: int = 256
    mask_layers: int = 4
    class_agnostic_masks: bool = False
    roi_canonical_size: float = 224
    sampling_ratio: int | None = None
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100
    mask_threshold: float = 0.5
    head_norm: Literal["none", "group"] = "none"
    size_divisible: int = 32


def build_segmenter(backbone: Backbone, num_classes: int, **options: Any) -> TorchvisionSegmenter:
    """A Mask R-CNN with a feature pyramid over the backbone's last four maps.

    options: fields of `SegmenterOptions`. The backbone becomes part of the segmenter and is frozen in place.
    """
    chosen = SegmenterOptions(**options)
    check_options(chosen, backbone, num_classes)
    freeze_backbone(backbone, chosen.trainable_stages)
    pyramid = FeaturePyramidNetwork(
        list(backbone.channels[1:]),
        chosen.fpn_channels,
        extra_blocks=LastLevelMaxPool(),
        norm_layer=norm_layer(chosen.head_norm),
    )
    segmenter = TorchvisionSegmenter(
        backbone,
        pyramid,
        _build_proposals(chosen),
        _build_heads(chosen, num_classes, backbone.strides[1:]),
        num_classes=num_classes,
        level_strides=pyramid_strides(backbone),
        mask_threshold=chosen.mask_threshold,
        size_divisible=chosen.size_divisible,
    )
    # Twice as fast for the heads' small convolutions on a CPU (AVX-512, one thread), and no slower on a GPU.
    return segmenter.to(memory_format=torch.channels_last)


def pyramid_strides(backbone: Backbone) -> tuple[int, ...]:
    """Pixels per cell of the five pyramid levels: the backbone's last four maps, and one level above them."""
    return (*backbone.strides[1:], backbone.strides[-1] * 2)


def check_options(options: SegmenterOptions, backbone: Backbone, num_classes: int) -> None:
    """WsvisError for sizes that no backend can build."""
    if num_classes < 1:
        raise WsvisError(f"a segmenter needs at least 1 class, got {num_classes}")
    strides = pyramid_strides(backbone)
    if len(options.anchor_sizes) != len(strides):
        raise WsvisError(
            f"anchor_sizes has {len(options.anchor_sizes)} entries but the pyramid has {len(strides)} levels "
            f"(strides {', '.join(map(str, strides))}); give one entry per level"
        )
    for key in ("fpn_channels", "mask_channels") if options.head_norm == "group" else ():
        if getattr(options, key) % NORM_GROUPS:
            raise WsvisError(
                f"{key} {getattr(options, key)} is not a multiple of {NORM_GROUPS}, as head_norm 'group' needs"
            )


def freeze_backbone(backbone: Backbone, trainable_stages: int) -> None:
    """Make only the last `trainable_stages` of (conv1, layer1, layer2, layer3, layer4) learn.

    Norms that always use their stored statistics do not learn either; ordinary batch norms, which a backbone
    without weights has, learn like the rest of their stage.
    """
    parts = ("conv1", "layer1", "layer2", "layer3", "layer4")
    if not 0 <= trainable_stages <= len(parts):
        raise WsvisError(f"trainable_stages {trainable_stages} is not in 0..{len(parts)}")
    learning = parts[len(parts) - trainable_stages :]
    for name, parameter in backbone.named_parameters():
        part = name.split(".")[0]
        parameter.requires_grad_(("conv1" if part == "bn1" else part) in learning)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d) and type(module) is not nn.BatchNorm2d:
            module.requires_grad_(False)


def norm_layer(name: str) -> Callable[..., nn.Module] | None:
    """Makes the norm of the heads from a number of channels: group norm, or None for no norm."""
    if name not in ("none", "group"):
        raise WsvisError(f"head_norm '{name}' is not one of none, group")
    return partial(nn.GroupNorm, NORM_GROUPS) if name == "group" else None


def anchor_sizes(options: SegmenterOptions) -> tuple[tuple[int, ...], ...]:
    """Sides in pixels of the square anchors of each level."""
    return tuple((size,) if isinstance(size, int) else tuple(size) for size in options.anchor_sizes)


def _build_proposals(options: SegmenterOptions) -> RegionProposalNetwork:
    sizes = anchor_sizes(options)
    anchors = AnchorGenerator(sizes, (tuple(options.aspect_ratios),) * len(sizes))
    return RegionProposalNetwork(
        anchors,
        RPNHead(options.fpn_channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=options.rpn_iou[1],
        bg_iou_thresh=options.rpn_iou[0],
        batch_size_per_image=options.rpn_batch,
        positive_fraction=options.rpn_positive_fraction,
        pre_nms_top_n={"training": options.pre_nms[0], "testing": options.pre_nms[1]},
        post_nms_top_n={"training": options.post_nms[0], "testing": options.post_nms[1]},
        nms_thresh=options.rpn_nms,
    )


def _build_heads(options: SegmenterOptions, num_classes: int, strides: Sequence[int]) -> RoIHeads:
    """Box and mask heads; torchvision counts background as class 0."""
    levels = {str(i): stride for i, stride in enumerate(strides)}
    pool = partial(
        PyramidRoIAlign,
        levels,
        sampling_ratio=2 if options.sampling_ratio is None else options.sampling_ratio,
        canonical_size=options.roi_canonical_size,
    )
    channels, width, hidden = options.fpn_channels, options.representation_size, options.mask_channels
    return RoIHeads(
        pool(options.box_pool_size),
        BoxHead(channels * options.box_pool_size**2, width, options.box_layers),
        FastRCNNPredictor(width, num_classes + 1),
        fg_iou_thresh=options.roi_iou,
        bg_iou_thresh=options.roi_iou,
        batch_size_per_image=options.roi_batch,
        positive_fraction=options.roi_positive_fraction,
        bbox_reg_weights=options.box_weights,
        score_thresh=options.score_threshold,
        nms_thresh=options.nms_threshold,
        detections_per_img=options.max_detections,
        mask_roi_pool=pool(options.mask_pool_size),
        mask_head=MaskRCNNHeads(channels, [hidden] * options.mask_layers, 1, norm_layer=norm_layer(options.head_norm)),
        mask_predictor=OneMaskPredictor(hidden, num_classes)
        if options.class_agnostic_masks
        else MaskRCNNPredictor(hidden, hidden, num_classes + 1),
    )


class OneMaskPredictor(MaskRCNNPredictor):
    """Features (R,channels,S,S) → mask logits (R,num_classes+1,2S,2S), the same one for every class of a region."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(channels, channels, 1)
        self.num_classes = num_classes

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).expand(-1, self.num_classes + 1, -1, -1)


class BoxHead(nn.Sequential):
    """Pooled features (R,C,S,S) → (R,D): `layers` fully connected layers with ReLU."""

    def __init__(self, inputs: int, outputs: int, layers: int) -> None:
        parts: list[nn.Module] = [nn.Flatten(1)]
        for i in range(layers):
            parts += [nn.Linear(inputs if i == 0 else outputs, outputs), nn.ReLU()]
        super().__init__(*parts)

    def forward(self, pooled: Tensor) -> Tensor:
        if pooled.device.type != "cpu":
            return super().forward(pooled)
        # The first layer as a convolution of the cells as they lie, channels last: half the time of reordering them
        # and multiplying (2000 regions, one AVX-512 thread: 0.3 s instead of 0.6).
        first, *rest = list(self)[1:]
        values = F.conv2d(pooled, first.weight.view(-1, *pooled.shape[1:]), first.bias).flatten(1)
        for layer in rest:
            values = layer(values)
        return values
