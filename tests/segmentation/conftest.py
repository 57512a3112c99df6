"""Mask R-CNNs small enough for tests, one per backend, and frames with two bright rectangles."""

from __future__ import annotations

import pytest
import torch

from wsvis_core.backbones import build_backbone
from wsvis_core.instances import InstanceSet
from wsvis_core.segmentation.build import BACKENDS

SIZES = {
    "trainable_stages": 5,
    "fpn_channels": 16,
    "anchor_sizes": (16, 24, 32, 48, 64),
    "rpn_batch": 32,
    "pre_nms": (60, 40),
    "post_nms": (40, 30),
    "representation_size": 32,
    "box_layers": 1,
    "roi_batch": 16,
    "mask_channels": 16,
    "mask_layers": 1,
    "mask_pool_size": 7,
    "sampling_ratio": 1,
    "max_detections": 20,
    "head_norm": "group",
}


@pytest.fixture(scope="session")
def sizes():
    """Options of a small segmenter; do not write into it."""
    return dict(SIZES)


@pytest.fixture(params=["torchvision", "detectron2"])
def backend(request):
    """Name of a backend; what uses it runs once with each that is installed."""
    if request.param == "detectron2":
        pytest.importorskip("detectron2", reason="detectron2 is not installed (docs/detectron2.md)")
    return request.param


@pytest.fixture
def build(backend):
    """Builds a segmenter of the backend, as `build_segmenter` does."""
    return BACKENDS[backend]


@pytest.fixture
def segmenter(build):
    torch.manual_seed(0)
    return build(build_backbone("resnet_tiny", output_stride=32, norm="batch"), 3, **SIZES).train()


def make_pair(seed, height=48, width=64):
    """(images, labels, flows) of one pair: a red and a green rectangle that move 4 px to the right from t to s."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (int(torch.randint(2, 8, (1,), generator=generator)) for _ in range(2))
    images, labels = [], []
    for shift in (0, 4):
        image = torch.randint(0, 80, (3, height, width), generator=generator).to(torch.uint8)
        masks = torch.zeros((2, height, width), dtype=torch.bool)
        masks[0, y : y + 24, x + shift : x + shift + 20] = True
        masks[1, y + 6 : y + 30, x + shift + 26 : x + shift + 46] = True
        for channel, mask in enumerate(masks):
            image[channel, mask] = 220
        images.append(image)
        labels.append(InstanceSet.from_masks(masks, torch.tensor([0, 1])))
    still = torch.zeros(2, height, width)
    to_t, to_s = still.clone(), still.clone()
    to_t[0], to_s[0] = -4.0, 4.0
    return images, labels, [(to_t, to_s)]


@pytest.fixture
def pair():
    return make_pair


@pytest.fixture(scope="session")
def scenes():
    """Three pairs, each with both objects labelled on both frames."""
    return [make_pair(seed) for seed in range(3)]


@pytest.fixture
def batch():
    """Two pairs as one batch, t0 s0 t1 s1."""
    parts = [make_pair(seed) for seed in (1, 2)]
    return tuple([item for part in parts for item in part[i]] for i in range(3))
