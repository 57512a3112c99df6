"""What every backend promises, on each that is installed."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import roi_align

from wsvis_core.backbones import build_backbone
from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist import TransferSettings
from wsvis_core.segmentation import MaskConsistStep
from wsvis_core.segmentation.modes import evaluation_mode

LOSSES = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"}
RPN_WEIGHTS = {"TorchvisionSegmenter": "head.bbox_pred.weight", "Detectron2Segmenter": "rpn_head.anchor_deltas.weight"}


def test_predictions_are_legal_instance_sets_at_each_images_own_size(segmenter):
    images = [torch.randint(0, 255, (3, 48, 64)), torch.randint(0, 255, (3, 37, 50))]
    predictions = segmenter.predict(segmenter.encode(images))
    assert [p.size for p in predictions] == [(48, 64), (37, 50)]
    for found in predictions:
        assert 0 < len(found) <= 20
        assert found.classes.min() >= 0 and found.classes.max() < segmenter.num_classes
        assert bool((found.scores > 0.05).all()) and torch.equal(found.scores, found.scores.sort(0, True).values)
        assert not found.masks.requires_grad and found.boxes_xyxy.dtype == torch.float32


def test_padding_does_not_reach_the_anchors_of_the_frame(segmenter):
    state = segmenter.encode([torch.zeros(3, 40, 50)])
    assert state.image_sizes == ((40, 50),)
    assert [tuple(o.shape[-2:]) for o in state.objectness] == [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]
    assert [len(a) for a in state.anchors] == [o[0].numel() for o in state.objectness]
    first, second = state.anchors[0][0], state.anchors[0][3]
    assert (second - first).tolist() == [4, 0, 4, 0]


def test_every_trainable_parameter_gets_a_gradient_after_predicting(segmenter, batch):
    images, labels, _ = batch
    state = segmenter.encode(images)
    segmenter.predict(state)
    losses = segmenter.losses(state, labels)
    assert set(losses) == LOSSES and all(torch.isfinite(v) for v in losses.values())
    sum(losses.values()).backward()
    missing = [n for n, p in segmenter.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


def test_gradients_survive_predicting_under_autocast(segmenter, batch):
    images, labels, _ = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        state = segmenter.encode(images)
        predictions = segmenter.predict(state)
        losses = segmenter.losses(state, labels)
    assert all(p.scores.dtype == torch.float32 for p in predictions)
    sum(losses.values()).backward()
    dead = [n for n, p in segmenter.named_parameters() if p.requires_grad and p.grad is None]
    assert dead == []


def test_a_step_under_autocast_reaches_every_parameter(segmenter, batch):
    """Predicting without graph must not leave half-precision copies of the weights without graph behind (§3.7)."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses, seen = MaskConsistStep(segmenter, TransferSettings())(*batch)
    assert seen.predictions > 0 and all(value.dtype == torch.float32 for value in losses.values())
    sum(losses.values()).backward()
    dead = [n for n, p in segmenter.named_parameters() if p.requires_grad and p.grad is None]
    assert dead == [] and all(torch.isfinite(p.grad).all() for p in segmenter.parameters() if p.requires_grad)


def test_predicting_leaves_state_and_modes_as_they_were(segmenter, batch):
    state = segmenter.encode(batch[0])
    before = [value.detach().clone() for value in (*state.objectness, *state.deltas, *state.features.values())]
    segmenter.pyramid.eval()
    flags = [m.training for m in segmenter.modules()]
    segmenter.predict(state)
    after = (*state.objectness, *state.deltas, *state.features.values())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert flags == [m.training for m in segmenter.modules()]


def test_modes_come_back_after_an_error(segmenter):
    flags = [m.training for m in segmenter.modules()]
    with pytest.raises(RuntimeError, match="inside"), evaluation_mode(segmenter):
        assert not any(m.training for m in segmenter.modules())
        raise RuntimeError("inside")
    assert flags == [m.training for m in segmenter.modules()]


def test_appearance_is_the_normalised_box_head_feature_of_the_final_boxes(build, sizes, batch):
    segmenter = build(build_backbone("resnet_tiny", output_stride=32), 3, **(sizes | {"roi_canonical_size": 16})).eval()
    state = segmenter.encode(batch[0])
    plain = segmenter.predict(state)
    found = segmenter.predict(state, with_appearance=True)
    assert all(p.appearance is None for p in plain)
    for i, item in enumerate(found):
        assert item.appearance.shape == (len(item), 32)
        assert torch.allclose(item.appearance.norm(dim=1), torch.ones(len(item)), atol=1e-5)
        wanted = box_head_features(segmenter, state.select([i]), item.boxes_xyxy)
        assert torch.allclose(item.appearance, torch.nn.functional.normalize(wanted, dim=1), atol=1e-5)


def box_head_features(segmenter, state, boxes):
    """Box-head features of boxes in the only image of a state, box by box; 16 px wide ones are read at stride 16."""
    strides = segmenter.level_strides[:4]
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
    levels = [min(max(math.floor(2 + math.log2(side / 16)), 0), 3) for side in sides.tolist()]
    assert len(set(levels)) > 1
    maps = list(state.features.values())
    pooled = [
        roi_align(maps[k], [box[None]], 7, spatial_scale=1 / strides[k], sampling_ratio=1, aligned=True)
        for k, box in zip(levels, boxes, strict=True)
    ]
    return segmenter.heads.box_head(torch.cat(pooled))


def test_detections_can_be_pasted_into_a_larger_frame(segmenter, batch):
    segmenter.eval()
    state = segmenter.encode(batch[0][:1])
    small, large = segmenter.predict(state)[0], segmenter.predict(state, output_sizes=[(96, 192)])[0]
    assert large.size == (96, 192)
    assert torch.allclose(large.boxes_xyxy, small.boxes_xyxy * torch.tensor([3.0, 2.0, 3.0, 2.0]))
    share = large.masks.float().mean((1, 2)) / small.masks.float().mean((1, 2)).clamp(min=1e-6)
    assert share.median().item() == pytest.approx(1, abs=0.2)


def test_an_image_without_targets_is_background(segmenter, batch):
    images, labels, _ = batch
    none = [InstanceSet.empty(48, 64)] * 2
    losses = segmenter.losses(segmenter.encode(images[:2]), none)
    assert losses["loss_mask"] == 0 and losses["loss_box_reg"] == 0 and losses["loss_classifier"] > 0
    mixed = segmenter.losses(segmenter.encode(images[:2]), [labels[0], none[0]])
    assert mixed["loss_mask"] > 0


def test_targets_must_match_the_images(segmenter, batch):
    with pytest.raises(ValueError, match="1 target sets for 2 images"):
        segmenter.losses(segmenter.encode(batch[0][:2]), batch[1][:1])


def test_a_network_that_diverged_gives_a_loss_that_says_so(segmenter, batch):
    with torch.no_grad():
        segmenter.proposals.get_parameter(RPN_WEIGHTS[type(segmenter).__name__]).fill_(float("nan"))
    state = segmenter.encode(batch[0][:2])
    assert state.finite() == [False, False]
    assert all(len(p) == 0 or torch.isfinite(p.boxes_xyxy).all() for p in segmenter.predict(state))
    losses = segmenter.losses(state, batch[1][:2])
    assert not torch.isfinite(sum(losses.values()))


def test_selecting_images_of_a_state_is_encoding_them_alone(segmenter, batch):
    segmenter.eval()
    both, alone = segmenter.encode(batch[0][:2]).select([1]), segmenter.encode(batch[0][1:2])
    assert len(both) == 1
    assert torch.allclose(both.objectness[0], alone.objectness[0], atol=1e-5)
    assert both.finite() == [True]


def test_a_state_with_nan_says_which_image(segmenter, batch):
    state = segmenter.encode(batch[0][:2])
    state.deltas[1].data[1, 0, 0, 0] = float("nan")
    assert state.finite() == [True, False]


def test_detections_of_a_trained_box_fit_its_mask(segmenter, pair):
    """A few steps on one pair are enough to find both rectangles: targets, sampling, pasting agree in geometry."""
    torch.manual_seed(0)
    images, labels, _ = pair(1)
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=2e-3)
    for _ in range(100):
        optimizer.zero_grad()
        sum(segmenter.losses(segmenter.encode(images), labels).values()).backward()
        optimizer.step()
    found = segmenter.eval().predict(segmenter.encode(images))[0]
    for mask, label in zip(labels[0].masks, labels[0].classes, strict=True):
        best = max(
            float((m & mask).sum() / (m | mask).sum())
            for m, c in zip(found.masks, found.classes, strict=True)
            if c == label
        )
        assert best > 0.7
