"""What a step must not do more than once: paste a mask, or make the device wait for every mask."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from wsvis_core.backbones import build_backbone
from wsvis_core.maskconsist import TransferSettings, transfer_labels
from wsvis_core.segmentation import torchvision_backend
from wsvis_core.segmentation.builder import build_segmenter
from wsvis_core.segmentation.roi_pooling import paste_masks
from wsvis_core.segmentation.step import MaskConsistStep

# What a GPU has to finish for before the host can go on.
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}


class Looks(TorchDispatchMode):
    """Counts operations that look at values: also indexing with a bool tensor, whose length is in its values."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        indices = args[1] if operation._schema.name == "aten::index" else []
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        self.seen += by_mask or operation._schema.name in WAITS
        return operation(*args, **(kwargs or {}))


def looks(rectangles, translation, objects):
    """Of a transfer with this many objects: each found whole and in two parts on both frames, and labelled on t."""
    size = (20, 12 * objects + 5)
    whole = [[12 * i, 0, 12 * i + 10, 10] for i in range(objects)]
    parts = [box for x0, y0, x1, y1 in whole for box in ([x0, y0, x1, y1], [x0, y0, x1, 6], [x0, 4, x1, y1])]
    moved = [[x0 + 5, y0, x1 + 5, y1] for x0, y0, x1, y1 in parts]
    frames = {
        "predictions_t": rectangles(parts, size=size),
        "labels_t": rectangles(whole, size=size),
        "predictions_s": rectangles(moved, size=size),
        "labels_s": rectangles([], size=size),
    }
    flows = {"flow_st": translation(-5, size=size), "flow_ts": translation(5, size=size)}
    with Looks() as counter:
        _, targets_s, counts = transfer_labels(**frames, **flows, settings=TransferSettings())
    assert len(targets_s) == objects and counts.expanded == 7 * objects
    return counter.seen


def test_more_masks_ask_for_no_more_numbers(rectangles, translation):
    few, many = (looks(rectangles, translation, objects) for objects in (1, 6))
    assert few == many
    assert 0 < many < 60


def test_a_step_pastes_the_masks_of_every_frame_once(rectangles, translation, monkeypatch):
    torch.manual_seed(0)
    options = {"fpn_channels": 16, "representation_size": 32, "mask_channels": 16, "mask_layers": 1, "roi_batch": 16}
    segmenter = build_segmenter(build_backbone("resnet_tiny", output_stride=32), 3, max_detections=20, **options)
    pasted = []

    def paste(masks, *rest, **options):
        pasted.append(len(masks))
        return paste_masks(masks, *rest, **options)

    monkeypatch.setattr(torchvision_backend, "paste_masks", paste)
    images = [255 * torch.rand(3, 48, 64) for _ in range(2)]
    labels = [rectangles([[5, 5, 30, 40], [35, 8, 60, 30]], [0, 1], size=(48, 64))] * 2
    flows = [(translation(0, size=(48, 64)), translation(0, size=(48, 64)))]
    _, counts = MaskConsistStep(segmenter.train(), TransferSettings())(images, labels, flows)
    assert pasted == [20, 20] and counts.predictions == 40
