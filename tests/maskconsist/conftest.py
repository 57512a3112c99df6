"""Hand-made scenes: instances that are rectangles on a small frame."""

from __future__ import annotations

import pytest
import torch

from wsvis_core.instances import InstanceSet

HEIGHT, WIDTH = 20, 40


def make_rectangles(boxes, classes=None, scores=None, size=(HEIGHT, WIDTH)):
    """InstanceSet whose masks are the filled `[x0, y0, x1, y1)` rectangles."""
    masks = torch.zeros((len(boxes), *size), dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    classes = torch.tensor(classes if classes is not None else [0] * len(boxes), dtype=torch.int64)
    scores = torch.tensor(scores if scores is not None else [1.0] * len(boxes), dtype=torch.float32)
    return InstanceSet.from_masks(masks, classes, scores)


def make_translation(dx, dy=0.0, size=(HEIGHT, WIDTH)):
    """Constant flow (2,H,W)."""
    return torch.tensor([float(dx), float(dy)]).view(2, 1, 1).expand(2, *size).clone()


@pytest.fixture
def rectangles():
    return make_rectangles


@pytest.fixture
def translation():
    return make_translation


@pytest.fixture
def boxes_of():
    """The boxes of a set as a sorted list of integer lists."""
    return lambda instances: sorted(instances.boxes_xyxy.int().tolist())


@pytest.fixture
def golden(rectangles, translation):
    """Appendix B.4: the object moves +5 px in x from t to s; only t has a stage-1 label."""
    return {
        "predictions_t": rectangles([[0, 0, 10, 6], [0, 4, 10, 10]]),
        "labels_t": rectangles([[0, 0, 10, 10]]),
        "predictions_s": rectangles([[5, 0, 15, 10]]),
        "labels_s": rectangles([]),
        "flow_st": translation(-5),
        "flow_ts": translation(5),
    }
