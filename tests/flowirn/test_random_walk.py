"""The sparse walk against a dense one, its conservation laws and its edges."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.paths import half_plane_directions, path_offsets
from wsvis_core.flowirn.random_walk import power_coefficients, random_walk, transposed_transition_matrix


def dense_transition(boundary: Tensor, radius: float, beta: float) -> Tensor:
    """T written cell by cell: columns sum to 1."""
    height, width = boundary.shape
    affinity = torch.eye(height * width, dtype=boundary.dtype)
    for y in range(height):
        for x in range(width):
            for dy, dx in half_plane_directions(radius):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    barrier = max(boundary[y + py, x + px] for py, px in path_offsets((dy, dx)))
                    i, j = y * width + x, (y + dy) * width + x + dx
                    affinity[i, j] = affinity[j, i] = 1 - barrier
    powered = affinity**beta
    return powered / powered.sum(dim=0, keepdim=True)


def random_boundary(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense_walk(seeds: Tensor, boundary: Tensor, radius: float, beta: float, exp_times: int) -> Tensor:
    """The published scheme: repeated squaring of the dense matrix, float64."""
    power = dense_transition(boundary.double(), radius, beta)
    for _ in range(exp_times):
        power = power @ power
    return ((seeds.double() * (1 - boundary.double())).flatten(1) @ power).view_as(seeds)


def test_sparse_steps_equal_dense_squarings_golden_b6() -> None:
    boundary = random_boundary(9, 11)
    seeds = torch.rand(3, 9, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert (random_walk(seeds, boundary) - dense_walk(seeds, boundary, 5, 10, 8)).abs().max() < 1e-12


@given(
    st.integers(1, 8),
    st.integers(1, 9),
    st.sampled_from([2, 3, 5]),
    st.sampled_from([0.5, 10]),
    st.integers(0, 10),
    st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_any_walk_equals_dense_squarings(
    height: int, width: int, radius: int, beta: float, exp_times: int, seed: int
) -> None:
    boundary = random_boundary(height, width, seed)
    boundary[boundary > 0.9] = 1
    seeds = torch.rand(2, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    exact = dense_walk(seeds, boundary, radius, beta, exp_times)
    options: dict[str, Any] = {"radius": radius, "beta": beta, "exp_times": exp_times}
    assert (random_walk(seeds, boundary, **options) - exact).abs().max() < 1e-12
    assert (random_walk(seeds.float(), boundary.float(), **options) - exact).abs().max() < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 3, 16, 256, 4096])
def test_coefficients_give_the_power(steps: int) -> None:
    x = torch.linspace(-1, 1, 201, dtype=torch.float64)
    coefficients = power_coefficients(steps, 1e-12)
    total = sum(c * torch.cos(k * torch.arccos(x)) for k, c in enumerate(coefficients))
    torch.testing.assert_close(total, x**steps, atol=1e-10, rtol=0)
    assert len(coefficients) <= min(steps, 8 * steps**0.5) + 1
    assert len(power_coefficients(256, 1e-9)) - 1 <= 98


def test_small_entries_left_out_stay_at_their_cell() -> None:
    boundary = random_boundary(9, 11)
    complete = transposed_transition_matrix(boundary).to_dense()
    cut = transposed_transition_matrix(boundary, smallest=1e-3)
    off_centre = ~torch.eye(99, dtype=torch.bool)
    expected = torch.where(off_centre & (complete <= 1e-3), 0, complete)
    assert torch.equal(cut.to_dense()[off_centre], expected[off_centre])
    torch.testing.assert_close(cut.to_dense().sum(dim=1), torch.ones(99, dtype=torch.float64))
    assert cut.values().numel() < (complete > 0).sum()


@pytest.mark.parametrize("axis", [-1, -2])
def test_the_walk_of_a_mirrored_map_is_the_mirrored_walk(axis: int) -> None:
    boundary = random_boundary(10, 13, 4)
    seeds = torch.rand(2, 10, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    mirrored = random_walk(seeds.flip(axis), boundary.flip(axis))
    torch.testing.assert_close(mirrored.flip(axis), random_walk(seeds, boundary), atol=1e-12, rtol=0)


def test_edges_of_the_range() -> None:
    """One cell, a map that is boundary everywhere, and a map without any."""
    assert float(random_walk(torch.full((1, 1, 1), 0.6), torch.full((1, 1), 0.25))) == pytest.approx(0.45)
    assert random_walk(torch.ones(2, 5, 6), torch.ones(5, 6)).abs().max() == 0
    spread = random_walk(torch.eye(5).view(1, 5, 5), torch.zeros(5, 5))
    assert float(spread.amax() / spread.amin()) == pytest.approx(1, abs=0.01)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([2, 3, 5]), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_columns_sum_to_one_and_the_walk_is_convex(height: int, width: int, radius: int, seed: int) -> None:
    boundary = random_boundary(height, width, seed)
    matrix = transposed_transition_matrix(boundary, radius=radius, beta=10)
    torch.testing.assert_close(matrix.to_dense().sum(dim=1), torch.ones(height * width, dtype=boundary.dtype))
    constant = torch.full((1, height, width), 0.7, dtype=boundary.dtype) / (1 - boundary)
    torch.testing.assert_close(random_walk(constant, boundary, radius=radius), torch.full_like(constant, 0.7))


def test_a_closed_wall_stops_the_walk() -> None:
    boundary = torch.zeros(12, 20)
    boundary[:, 10] = 1.0
    seeds = torch.zeros(1, 12, 20)
    seeds[0, 6, 3] = 1.0
    result = random_walk(seeds, boundary)[0]
    assert result[:, 11:].max() == 0
    assert result[:, :10].min() > 0


def test_zero_seeds_stay_zero_and_do_not_disturb_the_others() -> None:
    boundary = random_boundary(8, 8)
    seeds = torch.zeros(3, 8, 8, dtype=torch.float64)
    seeds[1, 2, 2] = 1
    result = random_walk(seeds, boundary)
    assert result[0].abs().max() == result[2].abs().max() == 0
    torch.testing.assert_close(result[1], random_walk(seeds[1:2], boundary)[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_dtype_is_kept_and_values_agree(dtype: torch.dtype) -> None:
    boundary = random_boundary(8, 9)
    seeds = torch.rand(2, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    result = random_walk(seeds.to(dtype), boundary.to(dtype))
    assert result.dtype == dtype
    tolerance = 2e-3 if dtype == torch.float16 else 1e-4
    torch.testing.assert_close(result.double(), random_walk(seeds, boundary), atol=tolerance, rtol=0.02)


def test_no_seed_gives_no_row() -> None:
    assert random_walk(torch.zeros(0, 4, 5), torch.zeros(4, 5)).shape == (0, 4, 5)


def test_steps_zero_is_one_product() -> None:
    boundary = random_boundary(6, 6)
    seeds = torch.ones(1, 6, 6, dtype=torch.float64)
    expected = (seeds * (1 - boundary)).flatten(1) @ dense_transition(boundary, 5, 10)
    torch.testing.assert_close(random_walk(seeds, boundary, exp_times=0).flatten(1), expected)


def test_bad_settings_are_named() -> None:
    boundary = torch.zeros(4, 4)
    with pytest.raises(WsvisError, match=r"^beta 0 must be greater than 0$"):
        transposed_transition_matrix(boundary, beta=0)
    with pytest.raises(WsvisError, match=r"^exp_times -1 is negative; the walk takes 2\^exp_times steps$"):
        random_walk(boundary[None], boundary, exp_times=-1)
