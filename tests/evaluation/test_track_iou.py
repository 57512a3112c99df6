"""IoU of tracks from runs, against dense masks; with empty runs, absent frames and empty masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from wsvis_core.evaluation.run_lengths import track_counts
from wsvis_core.evaluation.track_iou import TrueShapes
from wsvis_core.storage.rle import decode_mask

H, W, T = 7, 9, 4


def random_masks(rng):
    """T RLEs or None; runs may be empty, also two in a row, and at either end."""
    masks = []
    for _ in range(T):
        cuts = np.sort(rng.integers(0, H * W + 1, rng.integers(0, 7)))
        runs = np.diff(np.concatenate([[0], cuts, [H * W]])).tolist()
        rle = coco_mask.frPyObjects({"size": [H, W], "counts": runs}, H, W)
        masks.append(rle if rng.random() < 0.8 else None)
    return masks


def varied(rng, masks):
    """Most of the same masks."""
    return [new if rng.random() < 0.2 else old for new, old in zip(random_masks(rng), masks, strict=True)]


def dense(masks):
    return np.stack([np.zeros((H, W), bool) if mask is None else decode_mask(mask) for mask in masks])


def compare(shapes, track):
    counts = track_counts(track)
    return shapes.ious(counts.decode(H * W), counts.frames)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_against_dense_masks(seed):
    rng = np.random.default_rng(seed)
    truth = [random_masks(rng) for _ in range(3)]
    found = [varied(rng, truth[k % 3]) for k in range(5)]
    shapes = TrueShapes(truth, T, H)
    ious = np.array([compare(shapes, track) for track in found])
    for n, a in enumerate(map(dense, found)):
        for m, b in enumerate(map(dense, truth)):
            expected = (a & b).sum() / max((a | b).sum(), 1)
            # Below .5 nothing is matched, and the value may be left out.
            assert ious[n, m] == pytest.approx(expected, abs=1e-12) or (expected < 0.5 and ious[n, m] == 0)


def test_no_tracks():
    assert compare(TrueShapes([], T, H), [None] * T).shape == (0,)
    assert compare(TrueShapes([[None] * T], T, H), [None] * T).tolist() == [0.0]
