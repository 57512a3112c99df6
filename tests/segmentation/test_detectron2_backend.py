"""What only the detectron2 backend promises: detectron2's parts, and the same answers as torchvision's."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import nn

from wsvis_core.backbones import build_backbone
from wsvis_core.errors import WsvisError
from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist import TransferSettings
from wsvis_core.maskconsist.transfer import transfer_labels
from wsvis_core.segmentation import SegmenterOptions, build_segmenter
from wsvis_core.segmentation.torchvision_backend import _flatten

pytest.importorskip("detectron2", reason="detectron2 is not installed (docs/detectron2.md)")
backend = pytest.importorskip("wsvis_core.segmentation.detectron2_backend")
structures = pytest.importorskip("detectron2.structures")

# Square anchors of even side are the same in both frameworks; torchvision rounds the corners of others.
SAME = {
    "anchor_sizes": ((16, 20), (24, 28), (32, 40), (48, 56), (64, 80)),
    "aspect_ratios": (1.0,),
    "sampling_ratio": 2,
    "roi_canonical_size": 48,
    "score_threshold": 0.1,
}


def trunk():
    return build_backbone("resnet_tiny", output_stride=32, norm="batch")


def copy_weights(source, target):
    """Give a detectron2 segmenter the weights of a torchvision one of the same sizes."""
    target.backbone.load_state_dict(source.backbone.state_dict())
    pairs = [(source.proposals.head.cls_logits, target.proposals.rpn_head.objectness_logits)]
    pairs += [(source.proposals.head.conv[0][0], target.proposals.rpn_head.conv)]
    pairs += [(source.proposals.head.bbox_pred, target.proposals.rpn_head.anchor_deltas)]
    pairs += [(source.heads.mask_predictor.conv5_mask, target.heads.mask_head.deconv)]
    pairs += list(zip(layers(source.heads.box_head, nn.Linear), layers(target.heads.box_head, nn.Linear), strict=True))
    for i in range(4):
        for kind, theirs in (("inner_blocks", "fpn_lateral"), ("layer_blocks", "fpn_output")):
            pairs += with_norm(getattr(source.pyramid, kind)[i], getattr(target.pyramid, f"{theirs}{i + 2}"))
    for i, block in enumerate(source.heads.mask_head, start=1):
        pairs += with_norm(block, getattr(target.heads.mask_head, f"mask_fcn{i}"))
    for a, b in pairs:
        b.load_state_dict(a.state_dict())
    # Background is class 0 there and the last class here; boxes and masks of background exist only there.
    ours, theirs = source.heads.box_predictor, target.heads.box_predictor
    logits = source.heads.mask_predictor.mask_fcn_logits
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(theirs.cls_score, name).copy_(getattr(ours.cls_score, name).roll(-1, 0))
            getattr(theirs.bbox_pred, name).copy_(getattr(ours.bbox_pred, name)[4:])
            getattr(target.heads.mask_head.predictor, name).copy_(getattr(logits, name)[1:])


def layers(module, kind):
    return [part for part in module.modules() if isinstance(part, kind)]


def with_norm(block, convolution):
    """A torchvision block (convolution, norm) and a detectron2 convolution that contains its norm."""
    plain = nn.Conv2d(1, 1, 1, bias=convolution.bias is not None)
    plain.weight, plain.bias = convolution.weight, convolution.bias
    return [(block[0], plain), (block[1], convolution.norm)]


@pytest.fixture(scope="module")
def trained(sizes, scenes):
    """(torchvision's, detectron2's) segmenter with the same weights, which find the rectangles of `make_pair`."""
    torch.manual_seed(0)
    source = build_segmenter(trunk(), 3, **(sizes | SAME)).train()
    optimizer = torch.optim.AdamW(source.parameters(), lr=2e-3)
    for step in range(150):
        images, labels, _ = scenes[step % len(scenes)]
        optimizer.zero_grad()
        sum(source.losses(source.encode(images), labels).values()).backward()
        optimizer.step()
    target = backend.build_detectron2_segmenter(trunk(), 3, **(sizes | SAME))
    copy_weights(source, target)
    return source.eval(), target.eval()


def test_copied_weights_give_the_same_features_and_proposal_outputs(trained, scenes):
    with torch.no_grad():
        ours, theirs = (segmenter.encode(scenes[0][0]) for segmenter in trained)
    assert list(theirs.features) == ["p2", "p3", "p4", "p5", "p6"] and ours.image_sizes == theirs.image_sizes
    for values in (
        (ours.features.values(), theirs.features.values()),
        (ours.objectness, theirs.objectness),
        (ours.deltas, theirs.deltas),
    ):
        assert all(torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in zip(*values, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(ours.anchors, theirs.anchors, strict=True))


def test_copied_weights_give_the_same_predictions(trained, scenes):
    for images, _, _ in scenes:
        ours, theirs = (
            segmenter.predict(segmenter.encode(images), with_appearance=True, output_sizes=[(96, 128)] * 2)
            for segmenter in trained
        )
        for a, b in zip(ours, theirs, strict=True):
            assert len(a) == len(b) > 1 and torch.equal(a.classes, b.classes)
            assert torch.allclose(a.boxes_xyxy, b.boxes_xyxy, atol=1e-2)
            assert torch.allclose(a.scores, b.scores, atol=1e-4)
            assert torch.allclose(a.appearance, b.appearance, atol=1e-3)
            assert (a.masks != b.masks).float().mean() < 1e-3


@pytest.mark.parametrize("missing", [0, 1])
def test_both_backends_transfer_the_same_labels(trained, scenes, missing):
    """§3.12 a: what one frame's labels lack comes from the other frame, in the same place whatever the backend."""
    for images, labels, [(flow_st, flow_ts)] in scenes:
        labels = [item if i != missing else item.select([0]) for i, item in enumerate(labels)]
        targets = []
        for segmenter in trained:
            found = segmenter.predict(segmenter.encode(images))
            *both, seen = transfer_labels(
                found[0], labels[0], found[1], labels[1], flow_st, flow_ts, TransferSettings()
            )
            assert seen.transferred > 0
            targets.append(both)
        for ours, theirs in zip(*targets, strict=True):
            assert torch.equal(ours.classes, theirs.classes) and ours.classes.unique().tolist() == [0, 1]
            assert (ours.masks != theirs.masks).float().mean() < 1e-3
            assert torch.allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=1)


def test_equal_network_outputs_become_exactly_equal_detections_and_targets(trained, scenes, monkeypatch):
    """Same boxes, scores and small masks out of the heads: no pixel of the targets may depend on the backend."""
    source, target = trained
    for images, labels, [(flow_st, flow_ts)] in scenes:
        state = source.encode(images)
        proposals = source._propose(state, *_flatten(state))
        raw, _ = source.heads(state.features, proposals, list(state.image_sizes))
        monkeypatch.setattr(source.heads, "forward", lambda *args, raw=raw: (raw, {}))
        replay_heads(target, raw, monkeypatch)
        results = []
        for segmenter in trained:
            found = segmenter.predict(segmenter.encode(images))
            targets = transfer_labels(found[0], labels[0], found[1], labels[1], flow_st, flow_ts, TransferSettings())
            results.append([*found, *targets[:2]])
        for ours, theirs in zip(*results, strict=True):
            assert len(ours) > 0
            for field in ("masks", "boxes_xyxy", "classes", "scores"):
                assert torch.equal(getattr(ours, field), getattr(theirs, field))
        monkeypatch.undo()


def replay_heads(segmenter, raw, monkeypatch):
    """Let detectron2's heads answer with detections of torchvision's."""
    made = []
    for item, size in zip(raw, ((48, 64),) * 2, strict=True):
        boxes = structures.Boxes(item["boxes"])
        made.append(
            structures.Instances(
                size, pred_boxes=boxes, scores=item["scores"], pred_classes=item["labels"] - 1, pred_masks=item["masks"]
            )
        )
    monkeypatch.setattr(segmenter.heads.box_predictor, "inference", lambda *args: (made, None))
    monkeypatch.setattr(segmenter.heads, "forward_with_given_boxes", lambda features, found: found)


def test_region_masks_are_bit_masks_without_the_copies():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand((3, 40, 50), generator=generator) > 0.4
    corner = torch.rand((6, 2), generator=generator) * 25
    boxes = torch.cat([corner, corner + 2 + 20 * torch.rand((6, 2), generator=generator)], dim=1)
    owners = torch.tensor([2, 0, 1, 1, 2, 0])
    ours = backend.RegionMasks(masks, torch.arange(3))[owners]
    theirs = structures.BitMasks(masks)[owners]
    assert len(ours) == 6 and ours.masks is masks
    assert torch.equal(ours.crop_and_resize(boxes, 14), theirs.crop_and_resize(boxes, 14))
    some = torch.tensor([False, True, False, True, False, False])
    assert torch.equal(ours[some].crop_and_resize(boxes[some], 7), theirs[some].crop_and_resize(boxes[some], 7))


def test_every_option_reaches_detectron2():
    options = {
        "trainable_stages": 2, "fpn_channels": 24, "anchor_sizes": (8, (16, 20), 32, 64, 128),
        "aspect_ratios": (0.5, 1.0), "rpn_batch": 11, "rpn_positive_fraction": 0.3, "rpn_iou": (0.2, 0.6),
        "rpn_nms": 0.65, "pre_nms": (70, 60), "post_nms": (50, 40), "box_pool_size": 5, "representation_size": 20,
        "box_layers": 3, "roi_batch": 13, "roi_positive_fraction": 0.4, "roi_iou": 0.45,
        "box_weights": (9.0, 8.0, 7.0, 6.0), "mask_pool_size": 6, "mask_channels": 32, "mask_layers": 3,
        "roi_canonical_size": 100, "sampling_ratio": 3, "score_threshold": 0.07, "nms_threshold": 0.55,
        "max_detections": 17, "mask_threshold": 0.4, "head_norm": "group", "size_divisible": 64,
    }  # fmt: skip
    assert set(options) == {field.name for field in fields(SegmenterOptions)}
    made = backend.build_detectron2_segmenter(trunk(), 4, **options)
    rpn, heads = made.proposals, made.heads
    predictor, mask_head = heads.box_predictor, heads.mask_head
    learnt = {name.split(".")[0] for name, p in made.backbone.named_parameters() if p.requires_grad}
    assert learnt == {"layer3", "layer4"}
    assert set(shape.channels for shape in made.pyramid.output_shape().values()) == {24}
    assert (rpn.batch_size_per_image, rpn.positive_fraction, rpn.nms_thresh) == (11, 0.3, 0.65)
    assert rpn.anchor_matcher.thresholds[1:-1] == [0.2, 0.6] and rpn.anchor_matcher.allow_low_quality_matches
    assert rpn.pre_nms_topk == {True: 70, False: 60} and rpn.post_nms_topk == {True: 50, False: 40}
    sides = [(cell[:, 2:] - cell[:, :2]).prod(1).sqrt().round().tolist() for cell in rpn.anchor_generator.cell_anchors]
    assert sides == [[8, 8], [16, 16, 20, 20], [32, 32], [64, 64], [128, 128]]
    assert (heads.batch_size_per_image, heads.positive_fraction, heads.num_classes) == (13, 0.4, 4)
    assert heads.proposal_matcher.thresholds[1:-1] == [0.45] and not heads.proposal_matcher.allow_low_quality_matches
    for pooler, size in ((heads.box_pooler, 5), (heads.mask_pooler, 6)):
        assert pooler.output_size == (size, size) and pooler.canonical_box_size == 100
        assert {(p.sampling_ratio, p.aligned) for p in pooler.level_poolers} == {(3, True)}
    assert [(fc.in_features, fc.out_features) for fc in heads.box_head.fcs] == [(24 * 25, 20), (20, 20), (20, 20)]
    assert predictor.box2box_transform.weights == (9, 8, 7, 6)
    thresholds = predictor.test_score_thresh, predictor.test_nms_thresh, predictor.test_topk_per_image
    assert thresholds == (0.07, 0.55, 17)
    assert [c.out_channels for c in mask_head.conv_norm_relus] == [32] * 3 and mask_head.predictor.out_channels == 4
    norms = [*layers(made.pyramid, nn.GroupNorm), *layers(mask_head, nn.GroupNorm)]
    assert len(norms) == 11 and {norm.num_groups for norm in norms} == {8}
    assert (made.mask_threshold, made.size_divisible) == (0.4, 64)


def test_without_a_sampling_ratio_detectron2_samples_every_feature_pixel():
    made = backend.build_detectron2_segmenter(trunk(), 2)
    assert {p.sampling_ratio for p in made.heads.mask_pooler.level_poolers} == {0}
    assert made.proposals.smooth_l1_beta == made.heads.box_predictor.smooth_l1_beta == 0


def test_the_mask_head_starts_as_detectron2s_unless_it_trains_from_scratch():
    for norm, deviation in (("none", 0.001), ("group", (2 / 5) ** 0.5)):
        torch.manual_seed(0)
        made = backend.build_detectron2_segmenter(trunk(), 5, head_norm=norm)
        assert made.heads.mask_head.predictor.weight.std().item() == pytest.approx(deviation, rel=0.1)


def test_strides_that_do_not_double_are_refused():
    with pytest.raises(WsvisError, match=r"strides that double .* are 4, 8, 16, 16; set maskconsist.output_stride to"):
        backend.build_detectron2_segmenter(build_backbone("resnet_tiny", output_stride=16), 2)
    with pytest.raises(WsvisError, match="size_divisible 16 is not a multiple of the backbone's last stride, 32"):
        backend.build_detectron2_segmenter(trunk(), 2, size_divisible=16)


def test_detections_without_area_are_left_out(trained, scenes, monkeypatch):
    _, target = trained
    boxes = structures.Boxes(torch.tensor([[64.0, 5, 64, 20], [4.0, 4, 24, 28]]))
    made = structures.Instances((48, 64), pred_boxes=boxes, scores=torch.tensor([0.9, 0.8]))
    made.pred_classes = torch.tensor([0, 2])
    monkeypatch.setattr(target.heads.box_predictor, "inference", lambda *args: ([made], None))
    found = target.predict(target.encode(scenes[0][0][:1]))[0]
    assert found.classes.tolist() == [2] and found.boxes_xyxy.tolist() == [[4, 4, 24, 28]]


def test_losses_need_no_training_mode_and_leave_no_event_storage(trained, scenes):
    events = pytest.importorskip("detectron2.utils.events")
    _, target = trained
    images, labels, _ = scenes[0]
    losses = target.losses(target.encode(images), [labels[0], InstanceSet.empty(48, 64)])
    assert len(losses) == 5 and not target.training
    with pytest.raises(AssertionError):
        events.get_event_storage()
