from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.maskconsist.inter_frame import match_by_class, match_frames, matching_edges


def best_total_by_enumeration(edges, rows, columns):
    """Largest sum of any one-to-one assignment among equal classes, by trying all."""
    if len(rows) > len(columns):
        edges, rows, columns = edges.T, columns, rows
    best = 0.0
    for order in itertools.permutations(range(len(columns)), len(rows)):
        best = max(best, sum(float(edges[i, j]) for i, j in enumerate(order) if rows[i] == columns[j]))
    return best


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 10_000))
def test_assignment_is_one_to_one_and_optimal(n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    edges = torch.rand((n, m), generator=generator)
    rows = torch.randint(0, 2, (n,), generator=generator)
    columns = torch.randint(0, 2, (m,), generator=generator)
    pairs = match_by_class(edges, rows, columns)
    assert pairs.dtype == torch.int64 and pairs.shape[1] == 2
    for side in pairs.unbind(1):
        assert len(side.unique()) == len(side)
    assert torch.equal(rows[pairs[:, 0]], columns[pairs[:, 1]])
    total = float(edges[pairs[:, 0], pairs[:, 1]].sum())
    assert total == pytest.approx(best_total_by_enumeration(edges, rows, columns), abs=1e-5)


def test_edge_of_exactly_the_minimum_is_no_match():
    classes = torch.zeros(1, dtype=torch.int64)
    assert len(match_by_class(torch.tensor([[0.0]]), classes, classes)) == 0
    assert len(match_by_class(torch.tensor([[0.25]]), classes, classes, min_edge=0.25)) == 0
    assert match_by_class(torch.tensor([[0.25]]), classes, classes, min_edge=0.2).tolist() == [[0, 0]]


def test_a_translated_mask_lands_exactly(rectangles, translation):
    source, target = rectangles([[3, 2, 9, 8]]), rectangles([[10, 5, 16, 11]])
    matches = match_frames(source, target, translation(-7, -3))
    assert torch.equal(matches.warped_masks, target.masks)
    assert matches.pairs.tolist() == [[0, 0]] and matches.edges.tolist() == [1.0]


def test_flow_in_the_wrong_direction_does_not_match(rectangles, translation):
    source, target = rectangles([[3, 2, 9, 8]]), rectangles([[10, 5, 16, 11]])
    assert len(match_frames(source, target, translation(7, 3))) == 0


def test_a_mask_that_leaves_the_frame_does_not_match(rectangles, translation):
    source = rectangles([[30, 0, 40, 10]])
    matches = match_frames(source, source, translation(-35))
    assert not matches.warped_masks.any() and len(matches) == 0


def test_unequal_classes_do_not_match(rectangles, translation):
    a, b = rectangles([[0, 0, 8, 8]], classes=[0]), rectangles([[0, 0, 8, 8]], classes=[1])
    assert len(match_frames(a, b, translation(0))) == 0


def test_reversed_matches_swap_the_frames(rectangles, translation):
    source, target = rectangles([[20, 0, 25, 5], [0, 0, 6, 6]]), rectangles([[1, 0, 7, 6]])
    matches = match_frames(source, target, translation(-1))
    assert matches.pairs.tolist() == [[1, 0]]
    assert matches.reversed(target.masks).pairs.tolist() == [[0, 1]]


@pytest.mark.parametrize("stride", [1, 2, 4, 7])
def test_coarse_edges_keep_equal_and_distant_masks(rectangles, stride):
    masks = rectangles([[0, 0, 9, 9], [25, 5, 38, 19]]).masks
    edges = matching_edges(masks, masks, stride=stride)
    assert torch.allclose(edges, torch.eye(2), atol=1e-6)


def test_coarse_edges_are_close_to_the_mask_iou(rectangles):
    a, b = rectangles([[2, 1, 22, 17]]).masks, rectangles([[6, 4, 26, 20]]).masks
    assert matching_edges(a, b, stride=2).item() == pytest.approx(matching_edges(a, b).item(), abs=0.05)


@pytest.mark.parametrize("stride", [1, 4])
def test_empty_frames_do_not_match(rectangles, translation, stride):
    nothing, something = rectangles([]), rectangles([[0, 0, 5, 5]])
    for source, target in [(nothing, nothing), (nothing, something), (something, nothing)]:
        matches = match_frames(source, target, translation(0), match_stride=stride)
        assert len(matches) == 0 and matches.edges.shape == (0,)
        assert matches.warped_masks.shape == source.masks.shape


def test_flow_of_another_size_is_refused(rectangles):
    thing = rectangles([[0, 0, 5, 5]])
    with pytest.raises(ValueError, match=r"flow is \(2, 10, 20\) but the masks are \(1, 20, 40\)"):
        match_frames(thing, thing, torch.zeros(2, 10, 20))
