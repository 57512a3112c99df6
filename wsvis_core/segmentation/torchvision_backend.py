"""Mask R-CNN from torchvision's parts, split into encode / predict / losses (docs/method.md §3.7)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import FeaturePyramidNetwork

from wsvis_core.backbones import Backbone, normalise_images
from wsvis_core.instances import InstanceSet
from wsvis_core.segmentation.interface import DetectorState
from wsvis_core.segmentation.modes import evaluation_mode
from wsvis_core.segmentation.named_classes import only_named_classes
from wsvis_core.segmentation.roi_pooling import paste_masks, project_masks


class TorchvisionSegmenter(nn.Module):
    """Mask R-CNN over one backbone pass; build it with `build_segmenter`.

    Classes are 0..num_classes-1 outside and 1..num_classes inside torchvision's heads, where 0 is background.
    Batch norms whose weights do not learn keep their statistics whatever mode the network is in.
    """

    def __init__(
        self,
        backbone: Backbone,
        pyramid: FeaturePyramidNetwork,
        proposals: RegionProposalNetwork,
        heads: RoIHeads,
        *,
        num_classes: int,
        level_strides: Sequence[int],
        mask_threshold: float,
        size_divisible: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = pyramid
        self.proposals = proposals
        self.heads = heads
        self.num_classes = num_classes
        self.level_strides = tuple(level_strides)
        self.mask_threshold = mask_threshold
        self.size_divisible = size_divisible

    def train(self, mode: bool = True) -> TorchvisionSegmenter:
        """Training mode, except that frozen batch norms stay as they are."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d) and not part.weight.requires_grad:
                part.training = False
        return self

    def encode(self, images: Sequence[Tensor]) -> DetectorState:
        """Pyramid features and raw proposal outputs of B images in one backbone pass, with graph.

        images: tensors (3,H,W), RGB 0..255, uint8 or float, already resized; sizes may differ, the batch is padded
        at the right and bottom to a multiple of `size_divisible`.
        """
        sizes = tuple((image.shape[-2], image.shape[-1]) for image in images)
        stages = self.backbone(_pad_batch(images, self.size_divisible))
        levels = {str(i): stage for i, stage in enumerate(stages[1:])}
        features = self.pyramid(levels)
        objectness, deltas = self.proposals.head(list(features.values()))
        return DetectorState(features, tuple(objectness), tuple(deltas), self._anchors(list(features.values())), sizes)

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
            sizes = list(state.image_sizes)
            boxes = self._propose(state, *_flatten(state))
            with self._only_classes(classes, boxes):
                found, _ = self.heads(state.features, boxes, sizes)
            appearance: list[Tensor | None] = [None] * len(found)
            if with_appearance:
                appearance = self._appearance(state, [item["boxes"] for item in found])
            with torch.autocast(state.objectness[0].device.type, enabled=False):
                wanted = sizes if output_sizes is None else output_sizes
                instances = [self._instances(*item) for item in zip(found, sizes, wanted, appearance, strict=True)]
        # A weight first used without graph inside an autocast region is cached without graph (older torch).
        torch.clear_autocast_cache()
        return instances

    def _only_classes(
        self, classes: Sequence[Tensor | None] | None, boxes: Sequence[Tensor]
    ) -> AbstractContextManager[object]:
        """Meanwhile the box head's logits of regions `boxes` leave out what `classes` does not name."""
        if classes is None:
            return nullcontext()
        counts = [len(item) for item in boxes]

        def leave_out(_: nn.Module, __: object, outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return only_named_classes(outputs[0], classes, counts, background=0), outputs[1]

        return self.heads.box_predictor.register_forward_hook(leave_out)

    def losses(self, state: DetectorState, targets: Sequence[InstanceSet]) -> dict[str, Tensor]:
        """loss_objectness, loss_rpn_box_reg, loss_classifier, loss_box_reg, loss_mask: scalars with graph.

        targets: one set per image, masks at the image's own size, boxes with positive sides; an empty set makes
        its image pure background. Proposals and regions are sampled with torch's global random numbers, as
        torchvision does.
        """
        if len(targets) != len(state):
            raise ValueError(f"{len(targets)} target sets for {len(state)} images")
        wanted = [
            {"boxes": item.boxes_xyxy.float(), "labels": item.classes + 1, "masks": item.masks} for item in targets
        ]
        objectness, deltas = _flatten(state)
        anchors = [torch.cat(state.anchors)] * len(state)
        labels, matched = self.proposals.assign_targets_to_anchors(anchors, wanted)
        offsets = self.proposals.box_coder.encode(matched, anchors)
        loss_objectness, loss_rpn = self.proposals.compute_loss(
            objectness.reshape(-1, 1), deltas.reshape(-1, 4), labels, offsets
        )
        boxes = self._propose(state, objectness.detach(), deltas.detach())
        return {
            "loss_objectness": loss_objectness,
            "loss_rpn_box_reg": loss_rpn,
            **self._region_losses(state, boxes, wanted),
        }

    def _region_losses(
        self, state: DetectorState, proposals: list[Tensor], wanted: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Box and mask losses on sampled proposals (the boxes of the targets are among them)."""
        heads, sizes = self.heads, list(state.image_sizes)
        boxes, owners, labels, offsets = heads.select_training_samples(proposals, wanted)
        pooled = heads.box_head(heads.box_roi_pool(state.features, boxes, sizes))
        logits, regression = heads.box_predictor(pooled)
        loss_classifier, loss_box = fastrcnn_loss(logits.float(), regression.float(), labels, offsets)
        positive = [item > 0 for item in labels]
        boxes = [b[p] for b, p in zip(boxes, positive, strict=True)]
        owners = [o[p] for o, p in zip(owners, positive, strict=True)]
        classes = torch.cat([item[p] for item, p in zip(labels, positive, strict=True)])
        logits = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(state.features, boxes, sizes)))
        return {
            "loss_classifier": loss_classifier,
            "loss_box_reg": loss_box,
            "loss_mask": _mask_loss(logits.float(), classes, [w["masks"] for w in wanted], boxes, owners),
        }

    def _propose(self, state: DetectorState, objectness: Tensor, deltas: Tensor) -> list[Tensor]:
        """Proposals per image (R,4), as many as the current mode allows."""
        images = len(state)
        anchors = torch.cat(state.anchors)
        decoded = self.proposals.box_coder.decode(deltas.reshape(-1, 4).detach(), [anchors] * images)
        per_level = [len(level) for level in state.anchors]
        boxes, _ = self.proposals.filter_proposals(
            decoded.view(images, -1, 4), objectness, list(state.image_sizes), per_level
        )
        return boxes

    def _anchors(self, features: list[Tensor]) -> tuple[Tensor, ...]:
        """Anchors of every level in float32, from the strides of the levels (not guessed from shapes)."""
        generator = self.proposals.anchor_generator
        device = features[0].device
        generator.set_cell_anchors(torch.float32, device)
        strides = [[torch.tensor(s, device=device)] * 2 for s in self.level_strides]
        return tuple(generator.grid_anchors([list(f.shape[-2:]) for f in features], strides))

    def _appearance(self, state: DetectorState, boxes: list[Tensor]) -> list[Tensor]:
        """L2-normalised box-head features (N_i,D) float32 of given boxes per image."""
        pooled = self.heads.box_roi_pool(state.features, boxes, list(state.image_sizes))
        vectors = F.normalize(self.heads.box_head(pooled).float(), dim=1)
        return list(vectors.split([len(item) for item in boxes]))

    def _instances(
        self, found: dict[str, Tensor], size: tuple[int, int], wanted: tuple[int, int], appearance: Tensor | None
    ) -> InstanceSet:
        """One image's detections from boxes at `size` and small masks, brought to the frame size `wanted`."""
        scale = (wanted[1] / size[1], wanted[0] / size[0]) * 2
        boxes = found["boxes"].float() * found["boxes"].new_tensor(scale, dtype=torch.float32)
        masks = paste_masks(found["masks"][:, 0], boxes, wanted, threshold=self.mask_threshold)
        return InstanceSet(masks, boxes, found["labels"] - 1, found["scores"].float(), appearance)


def _pad_batch(images: Sequence[Tensor], multiple: int) -> Tensor:
    """Normalised images as one (B,3,H',W') batch, zeros (the mean colour) at the right and bottom."""
    height = max(image.shape[-2] for image in images)
    width = max(image.shape[-1] for image in images)
    height, width = -(-height // multiple) * multiple, -(-width // multiple) * multiple
    batch = torch.zeros((len(images), 3, height, width), device=images[0].device)
    for target, image in zip(batch, images, strict=True):
        target[:, : image.shape[-2], : image.shape[-1]] = normalise_images(image)
    return batch


def _flatten(state: DetectorState) -> tuple[Tensor, Tensor]:
    """Objectness (B,K) and deltas (B,K,4) in float32, ordered level, row, column, anchor: the order of the anchors."""
    images = len(state)
    objectness = [o.permute(0, 2, 3, 1).reshape(images, -1) for o in state.objectness]
    deltas = [d.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).reshape(images, -1, 4) for d in state.deltas]
    return torch.cat(objectness, dim=1).float(), torch.cat(deltas, dim=1).float()


def _mask_loss(
    logits: Tensor, classes: Tensor, masks: list[Tensor], boxes: list[Tensor], owners: list[Tensor]
) -> Tensor:
    """Mean binary cross-entropy of each region's own class channel against its projected mask; 0 without regions."""
    if len(classes) == 0:
        return logits.sum() * 0
    size = logits.shape[-1]
    wanted = [project_masks(m, b, o, size) for m, b, o in zip(masks, boxes, owners, strict=True) if len(b)]
    chosen = logits[torch.arange(len(classes), device=logits.device), classes]
    return F.binary_cross_entropy_with_logits(chosen, torch.cat(wanted))
