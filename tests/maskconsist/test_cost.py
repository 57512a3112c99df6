"""A transfer asks the device for numbers a fixed number of times, however many masks there are."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from wsvis_core.maskconsist import TransferSettings, transfer_labels

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
