from __future__ import annotations

import pytest
import torch
from torch import nn

from wsvis_core.backbones import build_backbone
from wsvis_core.errors import WsvisError
from wsvis_core.segmentation import SegmenterOptions
from wsvis_core.segmentation.builder import BoxHead, freeze_backbone


def learning_parts(backbone):
    return {name.split(".")[0] for name, p in backbone.named_parameters() if p.requires_grad}


def test_defaults_are_the_papers():
    options = SegmenterOptions()
    assert (options.fpn_channels, options.representation_size, options.mask_layers) == (256, 1024, 4)
    assert options.anchor_sizes == ((32,), (64,), (128,), (256,), (512,))
    assert (options.score_threshold, options.nms_threshold, options.max_detections) == (0.05, 0.5, 100)
    assert options.rpn_iou == (0.3, 0.7) and options.post_nms == (1000, 1000)


@pytest.mark.parametrize(
    ("stages", "parts"),
    [(0, set()), (3, {"layer2", "layer3", "layer4"}), (5, {"conv1", "layer1", "layer2", "layer3", "layer4"})],
)
def test_frozen_stages_and_norms(stages, parts):
    backbone = build_backbone("resnet18", output_stride=32)
    freeze_backbone(backbone, stages)
    assert learning_parts(backbone) == parts
    assert not any(p.requires_grad for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)
                   for p in m.parameters())  # fmt: skip


def test_batch_norms_of_a_backbone_without_weights_learn_unless_their_stage_is_frozen(build, sizes):
    backbone = build_backbone("resnet_tiny", output_stride=32, norm="batch")
    freeze_backbone(backbone, 5)
    assert all(p.requires_grad for p in backbone.parameters())
    segmenter = build(backbone, 2, **(sizes | {"trainable_stages": 2})).train()
    learning = {n.split(".")[1] for n, m in segmenter.named_modules()
                if isinstance(m, nn.BatchNorm2d) and m.training}  # fmt: skip
    assert learning == {"layer3", "layer4"}


def test_statistics_of_frozen_batch_norms_stay(build, sizes):
    backbone = build_backbone("resnet18", output_stride=32, norm="frozen_batch")
    segmenter = build(backbone, 2, **sizes).train()
    norms = [m for m in segmenter.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms) and segmenter.training
    before = [m.running_mean.clone() for m in norms]
    segmenter.encode([torch.randint(0, 255, (3, 40, 50))])
    assert all(torch.equal(a, m.running_mean) for a, m in zip(before, norms, strict=True))


@pytest.mark.parametrize(
    ("options", "classes", "message"),
    [
        ({"anchor_sizes": (32, 64)}, 3, r"anchor_sizes has 2 entries but the pyramid has 5 levels \(strides 4, 8"),
        ({"trainable_stages": 6}, 3, r"trainable_stages 6 is not in 0\.\.5"),
        ({"head_norm": "batch"}, 3, "head_norm 'batch' is not one of none, group"),
        ({"head_norm": "group", "mask_channels": 12}, 3, "mask_channels 12 is not a multiple of 8, as head_norm"),
        ({}, 0, "a segmenter needs at least 1 class, got 0"),
    ],
)
def test_impossible_sizes_are_refused(build, sizes, options, classes, message):
    with pytest.raises(WsvisError, match=message):
        build(build_backbone("resnet_tiny", output_stride=32), classes, **(sizes | options))


def test_resnet50_has_the_usual_pyramid(build):
    segmenter = build(build_backbone("resnet50", output_stride=32, norm="constant_batch"), 40)
    assert segmenter.level_strides == (4, 8, 16, 32, 64)
    assert not any("layer1" in n for n, p in segmenter.backbone.named_parameters() if p.requires_grad)
    state = segmenter.encode([torch.zeros(3, 60, 90)])
    assert [tuple(f.shape[-2:]) for f in state.features.values()] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    assert [len(a) for a in state.anchors] == [3 * 16 * 24, 3 * 8 * 12, 3 * 4 * 6, 3 * 2 * 3, 3 * 1 * 2]


def test_the_box_heads_first_layer_as_a_convolution_is_the_linear_layer():
    torch.manual_seed(0)
    head = BoxHead(5 * 3 * 3, 8, 2)
    pooled = torch.randn(6, 5, 3, 3).contiguous(memory_format=torch.channels_last)
    assert torch.allclose(head(pooled), torch.nn.Sequential.forward(head, pooled), atol=1e-6)
    assert list(head.state_dict()) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert head(pooled[:0]).shape == (0, 8)
