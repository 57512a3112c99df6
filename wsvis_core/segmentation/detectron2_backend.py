"""Mask R-CNN from detectron2's parts, split into encode / predict / losses (docs/method.md §3.7).

The only module that imports detectron2, and never its `model_zoo`: the network is built here, from the same options
as torchvision's. Where both frameworks have a default of their own (the box losses, the rounding of anchors, how the
mask head's targets are made), detectron2's holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone as Detectron2Backbone
from detectron2.modeling import StandardROIHeads
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals
from detectron2.modeling.proposal_generator.rpn import RPN, StandardRPNHead
from detectron2.modeling.roi_heads.box_head import FastRCNNConvFCHead
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead, mask_rcnn_loss
from detectron2.modeling.roi_heads.roi_heads import select_foreground_proposals
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from wsvis_core.backbones import Backbone, normalise_images
from wsvis_core.errors import WsvisError
from wsvis_core.instances import InstanceSet
from wsvis_core.segmentation.builder import (
    SegmenterOptions,
    anchor_sizes,
    check_options,
    freeze_backbone,
    norm_layer,
    pyramid_strides,
)
from wsvis_core.segmentation.interface import DetectorState
from wsvis_core.segmentation.modes import evaluation_mode
from wsvis_core.segmentation.named_classes import only_named_classes
from wsvis_core.segmentation.roi_pooling import paste_masks, project_masks

STAGES = ("res2", "res3", "res4", "res5")
LOSS_NAMES = {"loss_rpn_cls": "loss_objectness", "loss_rpn_loc": "loss_rpn_box_reg", "loss_cls": "loss_classifier"}


class Detectron2Segmenter(nn.Module):
    """Mask R-CNN over one backbone pass; build it with `build_detectron2_segmenter`.

    Classes are 0..num_classes-1 outside and inside; detectron2's background is num_classes. Batch norms whose weights
    do not learn keep their statistics whatever mode the network is in.
    """

    def __init__(
        self,
        backbone: Backbone,
        pyramid: FPN,
        proposals: RPN,
        heads: StandardROIHeads,
        *,
        mask_threshold: float,
        size_divisible: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = pyramid
        self.proposals = proposals
        self.heads = heads
        self.num_classes = heads.num_classes
        self.level_strides = tuple(shape.stride for shape in pyramid.output_shape().values())
        self.mask_threshold = mask_threshold
        self.size_divisible = size_divisible

    def train(self, mode: bool = True) -> Detectron2Segmenter:
        """Training mode, except that frozen batch norms stay as they are."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d) and not part.weight.requires_grad:
                part.training = False
        return self

    def encode(self, images: Sequence[Tensor]) -> DetectorState:
        """Pyramid features and raw proposal outputs of B images in one backbone pass, with graph.

        images: tensors (3,H,W), RGB 0..255, uint8 or float, already resized; sizes may differ, the batch is padded
        at the right and bottom to a multiple of `size_divisible`. They are normalised as the backbone's weights
        need it, which are torchvision's (detectron2's own trunks read BGR).
        """
        batch = ImageList.from_tensors([normalise_images(image) for image in images], self.size_divisible)
        stages = self.backbone(batch.tensor)
        features = self.pyramid(dict(zip(STAGES, stages[1:], strict=True)))
        levels = [features[name] for name in self.proposals.in_features]
        objectness, deltas = self.proposals.rpn_head(levels)
        anchors = tuple(boxes.tensor for boxes in self.proposals.anchor_generator(levels))
        sizes = tuple((image.shape[-2], image.shape[-1]) for image in images)
        return DetectorState(features, tuple(objectness), tuple(deltas), anchors, sizes)

    def predict(
        self,
        state: DetectorState,
        *,
        with_appearance: bool = False,
        output_sizes: Sequence[tuple[int, int]] | None = None,
        classes: Sequence[Tensor | None] | None = None,
    ) -> list[InstanceSet]:
        """Detections of each image as at test time: score above the threshold, class-wise NMS, best ones first.

        Without graph, float32 under autocast too. with_appearance: also the L2-normalised output of the box head,
        pooled anew at the final boxes (§5.2, option A). Boxes and masks are at each image's own, unpadded size, or
        at `output_sizes`, (H,W) per image: the small masks are then pasted straight into the original frame.
        classes: for each image bool (C,), the only classes that its regions are told apart by, or None (all).
        """
        with torch.no_grad(), evaluation_mode(self):
            proposals = self._propose(state, *_per_level(state))
            logits, deltas = self._classify(self._box_vectors(state, [item.proposal_boxes for item in proposals]))
            if classes is not None:
                logits = only_named_classes(logits, classes, [len(item) for item in proposals], background=-1)
            found, _ = self.heads.box_predictor.inference((logits, deltas), proposals)
            found = [item[item.pred_boxes.nonempty()] for item in found]
            found = self.heads.forward_with_given_boxes(state.features, found)
            appearance: list[Tensor | None] = [None] * len(found)
            if with_appearance:
                appearance = self._appearance(state, [item.pred_boxes for item in found])
            with torch.autocast(state.objectness[0].device.type, enabled=False):
                wanted = state.image_sizes if output_sizes is None else output_sizes
                instances = [self._instances(*item) for item in zip(found, wanted, appearance, strict=True)]
        # A weight first used without graph inside an autocast region is cached without graph (older torch).
        torch.clear_autocast_cache()
        return instances

    def losses(self, state: DetectorState, targets: Sequence[InstanceSet]) -> dict[str, Tensor]:
        """loss_objectness, loss_rpn_box_reg, loss_classifier, loss_box_reg, loss_mask: scalars with graph.

        targets: one set per image, masks at the image's own size, boxes with positive sides; an empty set makes
        its image pure background. Proposals and regions are sampled with torch's global random numbers, as
        detectron2 does.
        """
        if len(targets) != len(state):
            raise ValueError(f"{len(targets)} target sets for {len(state)} images")
        wanted = [_to_detectron2(item) for item in targets]
        objectness, deltas = _per_level(state)
        anchors = [Boxes(level) for level in state.anchors]
        # detectron2's losses log to an event storage and refuse to work without one; ours is thrown away.
        with EventStorage():
            labels, matched = self.proposals.label_and_sample_anchors(anchors, wanted)
            found = self.proposals.losses(anchors, objectness, labels, deltas, matched)
            found |= self._region_losses(state, self._propose(state, objectness, deltas), wanted)
        return {LOSS_NAMES.get(name, name): value for name, value in found.items()}

    def _region_losses(
        self, state: DetectorState, proposals: list[Instances], wanted: list[Instances]
    ) -> dict[str, Tensor]:
        """Box and mask losses on sampled proposals (the boxes of the targets are among them)."""
        sampled = self.heads.label_and_sample_proposals(proposals, wanted)
        outputs = self._classify(self._box_vectors(state, [item.proposal_boxes for item in sampled]))
        objects, _ = select_foreground_proposals(sampled, self.num_classes)
        pooled = self.heads.mask_pooler(self._maps(state), [item.proposal_boxes for item in objects])
        logits = self.heads.mask_head.layers(pooled)
        return {
            **self.heads.box_predictor.losses(outputs, sampled),
            "loss_mask": mask_rcnn_loss(logits.float(), objects),
        }

    @torch.no_grad()
    def _propose(self, state: DetectorState, objectness: list[Tensor], deltas: list[Tensor]) -> list[Instances]:
        """Proposals per image, as many as the current mode allows.

        A box that is not finite is left out in training too, where `RPN.predict_proposals` would raise: the training
        loop stops on the loss, and names the iteration and the frames.
        """
        rpn, images = self.proposals, len(state)
        boxes = [
            rpn.box2box_transform.apply_deltas(d.flatten(0, 1), a.repeat(images, 1)).view_as(d)
            for d, a in zip(deltas, state.anchors, strict=True)
        ]
        return find_top_rpn_proposals(
            boxes,
            objectness,
            list(state.image_sizes),
            rpn.nms_thresh,
            rpn.pre_nms_topk[rpn.training],
            rpn.post_nms_topk[rpn.training],
            rpn.min_box_size,
            training=False,
        )

    def _maps(self, state: DetectorState) -> list[Tensor]:
        """The levels that regions are read from."""
        return [state.features[name] for name in self.heads.box_in_features]

    def _box_vectors(self, state: DetectorState, boxes: list[Boxes]) -> Tensor:
        """Box-head features (ΣN_i,D) of boxes per image."""
        return self.heads.box_head(self.heads.box_pooler(self._maps(state), boxes))

    def _classify(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (R,C+1) and box deltas (R,4C) in float32."""
        logits, deltas = self.heads.box_predictor(vectors)
        return logits.float(), deltas.float()

    def _appearance(self, state: DetectorState, boxes: list[Boxes]) -> list[Tensor]:
        """L2-normalised box-head features (N_i,D) float32 of given boxes per image."""
        vectors = F.normalize(self._box_vectors(state, boxes).float(), dim=1)
        return list(vectors.split([len(item) for item in boxes]))

    def _instances(self, found: Instances, wanted: tuple[int, int], appearance: Tensor | None) -> InstanceSet:
        """One image's detections, brought to the frame size `wanted`.

        Masks are pasted by the function that both backends use, not by `ROIMasks.to_bitmasks`, which lets a mask
        fade out inside the border of its box: equal predictions then give equal targets whatever the backend.
        """
        boxes = found.pred_boxes.tensor.float()
        boxes = boxes * boxes.new_tensor((wanted[1] / found.image_size[1], wanted[0] / found.image_size[0]) * 2)
        masks = paste_masks(found.pred_masks[:, 0], boxes, wanted, threshold=self.mask_threshold)
        return InstanceSet(masks, boxes, found.pred_classes, found.scores.float(), appearance)


@dataclass(frozen=True)
class RegionMasks:
    """The target masks of one image and the one that each region belongs to; stands in for detectron2's `BitMasks`.

    masks (G,H,W) bool · owners (R,) int64, index into masks. `BitMasks` would hold a frame-sized copy for each of the
    regions sampled from an image: 512 × 480 × 854 bytes, 210 MB.
    """

    masks: Tensor
    owners: Tensor

    def __len__(self) -> int:
        return len(self.owners)

    def __getitem__(self, item: Tensor) -> RegionMasks:
        return RegionMasks(self.masks, self.owners[item])

    def crop_and_resize(self, boxes: Tensor, mask_size: int) -> Tensor:
        """Each region's mask inside its box, boxes (R,4) xyxy pixels → (R,mask_size,mask_size) bool."""
        return project_masks(self.masks, boxes, self.owners, mask_size) >= 0.5


class _StageMaps(Detectron2Backbone):
    """What detectron2's pyramid sees of our backbone: names, channels and strides of its last four maps.

    forward: the maps by name, as they come. The backbone itself stays outside, so that its weights have one name in
    every segmenter.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self._out_features = list(STAGES)
        self._out_feature_channels = dict(zip(STAGES, backbone.channels[1:], strict=True))
        self._out_feature_strides = dict(zip(STAGES, backbone.strides[1:], strict=True))

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        return maps


def build_detectron2_segmenter(backbone: Backbone, num_classes: int, **options: Any) -> Detectron2Segmenter:
    """detectron2's Mask R-CNN with a feature pyramid over the backbone's last four maps.

    options: fields of `SegmenterOptions`. The backbone becomes part of the segmenter and is frozen in place.
    """
    chosen = SegmenterOptions(**options)
    check_options(chosen, backbone, num_classes)
    _check_strides(chosen, backbone)
    freeze_backbone(backbone, chosen.trainable_stages)
    pyramid = FPN(
        _StageMaps(backbone),
        STAGES,
        chosen.fpn_channels,
        norm=norm_layer(chosen.head_norm) or "",
        top_block=LastLevelMaxPool(),
    )
    segmenter = Detectron2Segmenter(
        backbone,
        pyramid,
        _build_proposals(chosen, pyramid.output_shape()),
        _build_heads(chosen, num_classes, pyramid.output_shape()),
        mask_threshold=chosen.mask_threshold,
        size_divisible=chosen.size_divisible,
    )
    return segmenter.to(memory_format=torch.channels_last)


def _check_strides(options: SegmenterOptions, backbone: Backbone) -> None:
    """detectron2's pyramid doubles a map to add it to the one below: strides must double, and divide the batch."""
    strides = pyramid_strides(backbone)
    if any(b != 2 * a for a, b in zip(strides, strides[1:], strict=False)):
        raise WsvisError(
            f"detectron2's pyramid needs strides that double from map to map, but the backbone's are "
            f"{', '.join(map(str, backbone.strides[1:]))}; set maskconsist.output_stride to 32, or "
            f"maskconsist.backend to 'torchvision'"
        )
    if options.size_divisible % strides[-2]:
        raise WsvisError(
            f"size_divisible {options.size_divisible} is not a multiple of the backbone's last stride, {strides[-2]}"
        )


def _build_proposals(options: SegmenterOptions, levels: dict[str, ShapeSpec]) -> RPN:
    anchors = DefaultAnchorGenerator(
        sizes=anchor_sizes(options),
        aspect_ratios=[tuple(options.aspect_ratios)],
        strides=[shape.stride for shape in levels.values()],
        offset=0.0,
    )
    return RPN(
        in_features=list(levels),
        head=StandardRPNHead(in_channels=options.fpn_channels, num_anchors=anchors.num_anchors[0]),
        anchor_generator=anchors,
        anchor_matcher=Matcher(list(options.rpn_iou), [0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0)),
        batch_size_per_image=options.rpn_batch,
        positive_fraction=options.rpn_positive_fraction,
        pre_nms_topk=options.pre_nms,
        post_nms_topk=options.post_nms,
        nms_thresh=options.rpn_nms,
    )


def _build_heads(options: SegmenterOptions, num_classes: int, levels: dict[str, ShapeSpec]) -> StandardROIHeads:
    """Box and mask heads; they read all levels but the last."""
    read = list(levels)[:-1]
    pool = partial(
        ROIPooler,
        scales=[1 / levels[name].stride for name in read],
        sampling_ratio=options.sampling_ratio or 0,
        pooler_type="ROIAlignV2",
        canonical_box_size=options.roi_canonical_size,
    )
    region = partial(_square, options.fpn_channels)
    mask_head = MaskRCNNConvUpsampleHead(
        region(options.mask_pool_size),
        num_classes=1 if options.class_agnostic_masks else num_classes,
        conv_dims=[options.mask_channels] * (options.mask_layers + 1),
        conv_norm=norm_layer(options.head_norm) or "",
    )
    if options.head_norm == "group":
        # detectron2 starts the last layer at σ = 0.001, which a few hundred steps do not overcome (docs/detectron2.md).
        nn.init.kaiming_normal_(mask_head.predictor.weight, mode="fan_out", nonlinearity="relu")
    box_head = FastRCNNConvFCHead(
        region(options.box_pool_size), conv_dims=[], fc_dims=[options.representation_size] * options.box_layers
    )
    return StandardROIHeads(
        num_classes=num_classes,
        batch_size_per_image=options.roi_batch,
        positive_fraction=options.roi_positive_fraction,
        proposal_matcher=Matcher([options.roi_iou], [0, 1]),
        box_in_features=read,
        box_pooler=pool(options.box_pool_size),
        box_head=box_head,
        box_predictor=FastRCNNOutputLayers(
            box_head.output_shape,
            box2box_transform=Box2BoxTransform(weights=options.box_weights),
            num_classes=num_classes,
            test_score_thresh=options.score_threshold,
            test_nms_thresh=options.nms_threshold,
            test_topk_per_image=options.max_detections,
        ),
        mask_in_features=read,
        mask_pooler=pool(options.mask_pool_size),
        mask_head=mask_head,
    )


def _square(channels: int, side: int) -> ShapeSpec:
    return ShapeSpec(channels=channels, height=side, width=side)


def _per_level(state: DetectorState) -> tuple[list[Tensor], list[Tensor]]:
    """Objectness (B,h·w·A) and deltas (B,h·w·A,4) of each level in float32, in the order of its anchors."""
    objectness = [o.permute(0, 2, 3, 1).flatten(1).float() for o in state.objectness]
    deltas = [d.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3).float() for d in state.deltas]
    return objectness, deltas


def _to_detectron2(target: InstanceSet) -> Instances:
    """One image's targets. Masks as bitmaps: a union of two masks has no polygon."""
    owners = torch.arange(len(target), device=target.masks.device)
    return Instances(
        target.size,
        gt_boxes=Boxes(target.boxes_xyxy.float()),
        gt_classes=target.classes,
        gt_masks=RegionMasks(target.masks, owners),
    )
