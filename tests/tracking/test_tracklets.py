"""Overlap removal, flow links and tracklets on hand-made boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.storage.rle import encode_mask
from wsvis_core.tracking.overlap import rle_areas, rle_intersections, rle_ious, rle_overlaps
from wsvis_core.tracking.proposals import remove_overlaps
from wsvis_core.tracking.tracklets import Tracklet, build_tracklets, link_frames

SIZE = (20, 40)


def box(x0, y0, x1, y1, size=SIZE):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def rle(*corners, size=SIZE):
    return encode_mask(box(*corners, size=size))


def constant_flow(u, v, size=SIZE):
    return np.stack([np.full(size, u), np.full(size, v)]).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(0, 5))
def test_rle_overlaps_equal_dense_ones(seed, n, m):
    rng = np.random.default_rng(seed)
    a, b = rng.random((n, 7, 9)) < rng.random(), rng.random((m, 7, 9)) < rng.random()
    rles_a, rles_b = [encode_mask(x) for x in a], [encode_mask(x) for x in b]
    inter = (a[:, None] & b[None]).sum((2, 3)).astype(float)
    union = (a[:, None] | b[None]).sum((2, 3))
    smaller = np.minimum(a.sum((1, 2))[:, None], b.sum((1, 2))[None])
    areas_a, areas_b = rle_areas(rles_a), rle_areas(rles_b)
    assert areas_a.tolist() == a.sum((1, 2)).tolist()
    assert rle_intersections(rles_a, rles_b, areas_a, areas_b).tolist() == inter.tolist()
    np.testing.assert_allclose(rle_ious(rles_a, rles_b), inter / np.maximum(union, 1))
    np.testing.assert_allclose(rle_overlaps(rles_a, rles_b, "iom"), inter / np.maximum(smaller, 1))


def test_areas_of_many_masks():
    assert rle_areas([rle(0, 0, 3, 2)] * 600).tolist() == [6.0] * 600


def test_overlap_removal_keeps_the_better_of_two():
    rles = [rle(0, 0, 10, 10), rle(1, 0, 11, 10), rle(20, 0, 30, 10)]
    assert remove_overlaps(rles, np.array([0.5, 0.9, 0.3], np.float32)) == [1, 2]
    assert remove_overlaps(rles, np.array([0.5, 0.5, 0.5], np.float32)) == [0, 2]
    assert remove_overlaps(rles, np.array([0.5, 0.9, 0.3], np.float32), threshold=0.99) == [1, 0, 2]
    assert remove_overlaps([], np.zeros(0, np.float32)) == []


def test_overlap_removal_by_iom_drops_the_part():
    rles = [rle(0, 0, 10, 10), rle(0, 0, 3, 3)]
    scores = np.array([0.9, 0.8], np.float32)
    assert remove_overlaps(rles, scores) == [0, 1]
    assert remove_overlaps(rles, scores, measure="iom") == [0]


def test_overlap_exactly_at_the_threshold_is_removed():
    # IoU = 1/5
    rles = [rle(0, 0, 3, 1), rle(2, 0, 5, 1)]
    assert remove_overlaps(rles, np.array([0.9, 0.8], np.float32), threshold=0.2) == [0]


def test_hungarian_and_greedy_differ():
    frames = [[rle(0, 0, 13, 10), rle(6, 0, 16, 10)], [rle(5, 0, 15, 10), rle(9, 0, 20, 10)]]
    # IoU: (0,0) .53, (0,1) .20, (1,0) .82, (1,1) .50
    assert link_frames(frames, [None], SIZE) == [[(0, 0), (1, 1)]]
    assert link_frames(frames, [None], SIZE, assignment="greedy") == [[(0, 1), (1, 0)]]
    assert link_frames([[], *frames, []], [None] * 3, SIZE) == [[], [(0, 0), (1, 1)], []]


def test_links_follow_the_flow_direction():
    # The object moves 8 px to the right; F_{t+1→t} points back to where it was, u = -8.
    frames = [[rle(0, 0, 5, 5)], [rle(8, 0, 13, 5)]]
    assert link_frames(frames, [constant_flow(-8, 0)], SIZE) == [[(0, 0)]]
    assert link_frames(frames, [constant_flow(8, 0)], SIZE) == [[]]
    assert link_frames(frames, [None], SIZE) == [[]]


@pytest.mark.parametrize("stored", [(20, 40), (10, 20), (5, 10)])
@pytest.mark.parametrize("long_side", [None, 20, 1000])
def test_links_with_reduced_flow_and_reduced_masks(stored, long_side):
    frames = [[rle(0, 0, 8, 8)], [rle(12, 4, 20, 12)], []]
    flow = constant_flow(-12 * stored[1] / 40, -4 * stored[0] / 20, stored)
    links = link_frames(frames, [flow, flow], SIZE, link_long_side=long_side, threshold=0.95)
    assert links == [[(0, 0)], []]


def test_threshold_of_links_is_exclusive():
    frames = [[rle(0, 0, 2, 1)], [rle(1, 0, 3, 1)]]
    assert link_frames(frames, [None], SIZE, threshold=0.333) == [[(0, 0)]]
    assert link_frames(frames, [None], SIZE, threshold=0.334) == [[]]


def test_tracklets_from_links():
    tracklets = build_tracklets([2, 2, 0, 1], [[(0, 1)], [], []])
    assert tracklets == [Tracklet(0, (0, 1)), Tracklet(0, (1,)), Tracklet(1, (0,)), Tracklet(3, (0,))]
    assert [t.end for t in tracklets] == [1, 0, 1, 3] and len(tracklets[0]) == 2
    assert tracklets[0].places == ((0, 0), (1, 1))


def test_published_quirk_loses_the_last_frame():
    assert build_tracklets([2, 2], [[(1, 0)]], keep_last_frame=False) == [Tracklet(0, (0,)), Tracklet(0, (1, 0))]
    assert build_tracklets([2], [], keep_last_frame=False) == []
    assert build_tracklets([2], []) == [Tracklet(0, (0,)), Tracklet(0, (1,))]
    assert build_tracklets([], []) == []
