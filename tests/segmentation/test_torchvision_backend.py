from __future__ import annotations

import torch

from wsvis_core.backbones import build_backbone
from wsvis_core.segmentation import build_segmenter


def test_a_backbone_that_keeps_stride_16_has_two_levels_of_it(sizes):
    """detectron2's pyramid cannot; torchvision's resizes to whatever comes next."""
    segmenter = build_segmenter(build_backbone("resnet_tiny", output_stride=16), 3, **sizes)
    assert segmenter.level_strides == (4, 8, 16, 16, 32)
    state = segmenter.encode([torch.zeros(3, 40, 50)])
    assert [tuple(o.shape[-2:]) for o in state.objectness] == [(16, 16), (8, 8), (4, 4), (4, 4), (2, 2)]
    assert len(segmenter.eval().predict(state)) == 1
