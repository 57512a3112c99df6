"""Directions, paths and path maxima against the golden counts and slow loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.paths import (
    destination_values,
    directions_by_path_length,
    half_plane_directions,
    ordered_directions,
    path_maximum,
    path_offsets,
    source_values,
    source_window,
)


@pytest.mark.parametrize(("direction", "points"), [((0, 3), 4), ((1, 1), 4), ((1, -1), 4), ((1, 2), 6), ((1, 3), 8)])
def test_path_lengths_golden_b1(direction: tuple[int, int], points: int) -> None:
    assert len(path_offsets(direction)) == points
    assert {(0, 0), direction} <= set(path_offsets(direction))


def test_direction_counts_golden_b1() -> None:
    lengths = {length: len(group) for length, group in directions_by_path_length(5).items()}
    assert lengths == {2: 2, 3: 2, 4: 4, 5: 2, 6: 4, 7: 2, 8: 8, 10: 6, 11: 4}
    assert list(lengths) == sorted(lengths)
    assert sum(len(path_offsets(d)) for d in ordered_directions(5)) == 242
    assert len(ordered_directions(10)) == 152
    assert sum(len(path_offsets(d)) for d in ordered_directions(10)) == 2134
    assert max(directions_by_path_length(10)) == 22


def test_every_unordered_pair_is_visited_once() -> None:
    directions = half_plane_directions(5)
    assert len(set(directions)) == len(directions)
    opposites = {(-dy, -dx) for dy, dx in directions}
    assert not opposites & set(directions)
    near = {(y, x) for y in range(-5, 6) for x in range(-5, 6) if 0 < y * y + x * x < 25}
    assert opposites | set(directions) == near


def test_source_window_at_128_golden() -> None:
    window = source_window(128, 128, 10)
    assert (window.height, window.width, window.left) == (119, 110, 9)
    assert window.height * window.width * len(ordered_directions(10)) == 1_989_680


@given(st.integers(1, 14), st.integers(1, 16), st.sampled_from([2, 3, 4.5, 5]), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_path_maximum_equals_a_slow_loop(height: int, width: int, radius: float, seed: int) -> None:
    values = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed))
    result = path_maximum(values, radius)
    window = source_window(height, width, radius)
    assert result.shape == (2, len(ordered_directions(radius)), window.height, window.width)
    for p, direction in enumerate(ordered_directions(radius)):
        for y in range(window.height):
            for x in range(window.width):
                cells = [(y + py, x + window.left + px) for py, px in path_offsets(direction)]
                assert all(0 <= cy < height and 0 <= cx < width for cy, cx in cells)
                slow = torch.stack([values[:, cy, cx] for cy, cx in cells]).amax(0)
                assert torch.equal(result[:, p, y, x], slow)


@pytest.mark.parametrize("needs_gradient", [False, True])
@pytest.mark.parametrize("low", [0.0, -5.0])
def test_path_maximum_at_radius_10_with_and_without_gradient(needs_gradient: bool, low: float) -> None:
    values = torch.rand(2, 24, 30, generator=torch.Generator().manual_seed(3)) + low
    window = source_window(24, 30, 10)
    largest = path_maximum(values.requires_grad_(needs_gradient), 10)
    assert largest.requires_grad == needs_gradient
    for p, direction in enumerate(ordered_directions(10)):
        views = torch.stack([window.view(values, offset) for offset in path_offsets(direction)])
        assert torch.equal(largest[:, p], views.amax(0))


@given(st.integers(1, 12), st.integers(1, 14), st.sampled_from([2, 3, 5]), st.booleans(), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_gradient_equals_that_of_stacked_paths(height: int, width: int, radius: int, ties: bool, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    values = torch.rand(2, height, width, dtype=torch.float64, generator=random)
    values = (values * 3).floor().requires_grad_() if ties else values.requires_grad_()
    largest = path_maximum(values, radius)
    weights = torch.rand(largest.shape, dtype=torch.float64, generator=random)
    (fast,) = torch.autograd.grad((largest * weights).sum(), values)
    slow, level = torch.zeros_like(values), values.tolist()
    window = source_window(height, width, radius)
    for p, direction in enumerate(ordered_directions(radius)):
        for b, y, x in torch.cartesian_prod(*map(torch.arange, (2, window.height, window.width))).tolist():
            cells = sorted((y + py, x + window.left + px) for py, px in path_offsets(direction))
            # Among equal cells the last one in scan order.
            holder = max(cells, key=lambda cell: (level[b][cell[0]][cell[1]], cell))
            slow[b, holder[0], holder[1]] += weights[b, p, y, x]
    torch.testing.assert_close(fast, slow)
    assert float(fast.sum()) == pytest.approx(float(weights.sum()))


def test_nan_counts_as_largest() -> None:
    values = torch.zeros(5, 7)
    values[2, 3] = float("nan")
    for needs_gradient in (False, True):
        largest = path_maximum(values.clone().requires_grad_(needs_gradient), 2)
        assert largest.isnan().any() and largest.isnan().sum() == path_maximum(values.isnan().float(), 2).sum()


def test_an_isolated_high_cell_lowers_only_the_paths_through_it() -> None:
    boundary = torch.zeros(12, 16)
    boundary[3, 8] = 0.9
    alpha = 1 - path_maximum(boundary, 5)
    window = source_window(12, 16, 5)
    for p, direction in enumerate(ordered_directions(5)):
        for y in range(window.height):
            for x in range(window.width):
                touches = (3 - y, 8 - x - window.left) in path_offsets(direction)
                assert alpha[p, y, x] == pytest.approx(0.1 if touches else 1.0)


def test_the_gradient_goes_to_the_maximum() -> None:
    values = torch.rand(1, 7, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda v: path_maximum(v, 4), values.requires_grad_())


def test_sources_and_destinations_follow_the_same_order() -> None:
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(12), indexing="ij")
    step_y = destination_values(rows, 4) - source_values(rows, 4)
    step_x = destination_values(columns, 4) - source_values(columns, 4)
    for p, (dy, dx) in enumerate(ordered_directions(4)):
        assert (step_y[p] == dy).all() and (step_x[p] == dx).all()


def test_a_map_smaller_than_the_radius_has_no_pair() -> None:
    assert path_maximum(torch.zeros(2, 5, 5), 10).shape == (2, 152, 0, 0)
    assert destination_values(torch.zeros(3, 2), 5).numel() == 0


def test_large_maps_use_wider_ranks() -> None:
    values = torch.rand(200, 200, generator=torch.Generator().manual_seed(1))
    window = source_window(200, 200, 2)
    expected = torch.stack([window.view(values, o) for o in path_offsets((1, 1))]).amax(0)
    position = ordered_directions(2).index((1, 1))
    assert torch.equal(path_maximum(values, 2)[position], expected)
    assert torch.equal(path_maximum(values.requires_grad_(), 2)[position], expected)


def test_radius_one_is_refused() -> None:
    with pytest.raises(WsvisError, match=r"^path radius 1 is too small: it must be greater than 1 cell$"):
        ordered_directions(1)
