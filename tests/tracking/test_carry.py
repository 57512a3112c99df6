"""Carried masks and their overlaps against a pixel-by-pixel reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.storage.rle import encode_mask
from wsvis_core.tracking.carry import carried_ious, label_picture


def slow_carry(mask, flow):
    """Bilinear at p + flow(p), zero outside, at least one half; plain loops."""
    height, width = mask.shape

    def at(y, x):
        return float(mask[y, x]) if 0 <= y < height and 0 <= x < width else 0.0

    out = np.zeros(mask.shape, bool)
    for y in range(height):
        for x in range(width):
            sx, sy = x + float(flow[0, y, x]), y + float(flow[1, y, x])
            x0, y0 = math.floor(sx), math.floor(sy)
            ax, ay = sx - x0, sy - y0
            upper = (1 - ax) * at(y0, x0) + ax * at(y0, x0 + 1)
            lower = (1 - ax) * at(y0 + 1, x0) + ax * at(y0 + 1, x0 + 1)
            out[y, x] = (1 - ay) * upper + ay * lower >= 0.5
    return out


def slow_ious(before, after, flow):
    carried = [mask if flow is None else slow_carry(mask, flow) for mask in before]
    return np.array([[(a & b).sum() / max((a | b).sum(), 1) for b in after] for a in carried])


def pictures(before, after):
    return (label_picture([encode_mask(m) for m in masks], masks[0].shape, masks[0].shape) for masks in (before, after))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4), st.sampled_from([None, 0.5, 0.25, 1.0]))
def test_overlaps_equal_the_slow_ones_also_for_masks_that_overlap(seed, n, m, step):
    rng = np.random.default_rng(seed)
    before, after = rng.random((n, 7, 9)) < rng.random(), rng.random((m, 7, 9)) < rng.random()
    # Quarters of a pixel: bilinear values are exact, one half among them.
    flow = None if step is None else (step * rng.integers(-16, 17, (2, 7, 9))).astype(np.float32)
    found = carried_ious(*pictures(before, after), flow)
    np.testing.assert_allclose(found, slow_ious(before, after, flow), atol=1e-12)


def test_the_rows_of_a_tall_frame_are_all_seen():
    rng = np.random.default_rng(3)
    before, after = rng.random((2, 150, 5)) < 0.5, rng.random((3, 150, 5)) < 0.5
    flow = (0.5 * rng.integers(-9, 10, (2, 150, 5))).astype(np.float32)
    np.testing.assert_allclose(carried_ious(*pictures(before, after), flow), slow_ious(before, after, flow), atol=1e-12)


@pytest.mark.parametrize("width", [854, 427, 53])
def test_half_a_pixel_is_inside_at_every_column(width):
    """A column carried by half a pixel covers both columns it lies between, wherever in the frame it is."""
    for column in range(1, width):
        mask = np.zeros((1, width), bool)
        mask[0, column] = True
        wanted = np.zeros((1, width), bool)
        wanted[0, column - 1 : column + 1] = True
        flow = np.zeros((2, 1, width), np.float32)
        flow[0] = 0.5
        assert carried_ious(*pictures([mask], [wanted]), flow)[0, 0] == 1.0


def test_a_mask_that_leaves_the_frame_overlaps_nothing():
    mask = np.ones((4, 6), bool)
    for u in (-6, 6, 1e6, -1e6):
        flow = np.full((2, 4, 6), u, np.float32)
        assert carried_ious(*pictures([mask], [mask]), flow).tolist() == [[0.0]]


def test_labels_tell_which_masks_share_a_pixel():
    a, b, c = np.zeros((3, 2, 4), bool)
    a[0, :2], b[0, 1:3], c[0, 1] = True, True, True
    picture = label_picture([encode_mask(m) for m in (a, b, c)], (2, 4), (2, 4))
    for number, mask in enumerate((a, b, c)):
        assert picture.members[picture.labels, number].tolist() == mask.tolist()
    empty = label_picture([], (2, 4), (2, 4))
    assert empty.count == 0 and not empty.labels.any()


def test_a_smaller_picture_takes_the_nearest_pixels():
    mask = np.zeros((4, 6), bool)
    mask[1, 1] = mask[3, 3] = True
    assert label_picture([encode_mask(mask)], (4, 6), (2, 3)).labels.tolist() == [[1, 0, 0], [0, 1, 0]]
