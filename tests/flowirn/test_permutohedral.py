"""The lattice against a slow dictionary version of itself (exactly) and against the dense Gaussian sum (closely)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.flowirn.permutohedral import enclosing_simplex, hyperplane_basis, permutohedral_lattice


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def corners_of(base: Tensor, rank: Tensor) -> Tensor:
    """Coordinates of the corners of each simplex (P, corner, coordinate), by the formula of the docstring."""
    dims = len(base) - 1
    corner = torch.arange(dims + 1).view(-1, 1)
    return (dims + 1) * base.t().unsqueeze(1) + corner - (dims + 1) * (rank.t().unsqueeze(1) > dims - corner).long()


def slow_filter(features: Tensor, values: Tensor) -> Tensor:
    """Splat, blur, slice with a dictionary of corner coordinates; the mean of both orders of the axes."""
    dims, count = features.shape
    base, rank, weights = enclosing_simplex(features)
    corners = [[tuple(corner) for corner in point] for point in corners_of(base, rank).tolist()]
    held = {corner: torch.zeros(values.shape[1], dtype=values.dtype) for point in corners for corner in point}
    for p in range(count):
        for k, corner in enumerate(corners[p]):
            held[corner] = held[corner] + weights[k, p] * values[p]
    total = torch.zeros_like(values)
    for axes in (range(dims + 1), range(dims, -1, -1)):
        blurred = held
        for axis in axes:
            step = [-dims if i == axis else 1 for i in range(dims + 1)]
            beside = {
                corner: [tuple(c + sign * s for c, s in zip(corner, step, strict=True)) for sign in (-1, 1)]
                for corner in blurred
            }
            blurred = {
                corner: value / 2 + sum(blurred[other] / 4 for other in beside[corner] if other in blurred)
                for corner, value in blurred.items()
            }
        for p in range(count):
            total[p] += sum(weights[k, p] * blurred[corner] for k, corner in enumerate(corners[p])) / 2
    return total


def dense_sum(features: Tensor, values: Tensor) -> Tensor:
    points = features.t()
    return (-0.5 * torch.cdist(points, points) ** 2).exp() @ values


def constant_of(dims: int) -> float:
    return (3 / (4 * math.pi)) ** (dims / 2) / math.sqrt(dims + 1)


@pytest.mark.parametrize("dims", [1, 2, 5, 7])
def test_the_basis_spans_the_hyperplane_without_distortion(dims: int) -> None:
    basis = hyperplane_basis(dims)
    scale = (dims + 1) * math.sqrt(2 / 3)
    torch.testing.assert_close(basis.t() @ basis, scale**2 * torch.eye(dims, dtype=torch.float64))
    torch.testing.assert_close(basis.sum(dim=0), torch.zeros(dims, dtype=torch.float64))


@given(st.integers(1, 6), st.integers(1, 40), st.floats(0, 50), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_point_is_the_weighted_mean_of_lattice_points(dims: int, count: int, spread: float, seed: int) -> None:
    features = (random(dims, count, seed=seed) - 0.5) * spread
    base, rank, weights = enclosing_simplex(features)
    corners = corners_of(base, rank)
    assert corners.sum(dim=-1).eq(0).all()
    assert (corners - torch.arange(dims + 1).view(-1, 1)).remainder(dims + 1).eq(0).all()
    assert rank.sort(dim=0).values.eq(torch.arange(dims + 1).unsqueeze(-1)).all()
    assert weights.min() > -1e-12
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(count, dtype=torch.float64))
    points = torch.einsum("kp,pki->ip", weights, corners.double())
    torch.testing.assert_close(points, hyperplane_basis(dims) @ features)


def test_a_lattice_point_has_all_its_weight_on_one_corner() -> None:
    base, rank, weights = enclosing_simplex(torch.zeros(3, 2))
    assert weights.tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]
    assert base.eq(0).all() and rank.t().tolist() == [[0, 1, 2, 3]] * 2


@given(st.integers(1, 5), st.integers(1, 30), st.sampled_from([0.0, 1.0, 4.0]), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_equals_the_slow_lattice(dims: int, count: int, spread: float, seed: int) -> None:
    features, values = random(dims, count, seed=seed) * spread, random(count, 2, seed=seed + 1)
    filtered = permutohedral_lattice(features.unsqueeze(0)).filter(values)
    torch.testing.assert_close(filtered, slow_filter(features, values))


def test_features_that_span_more_cells_than_an_int64_counts() -> None:
    features = random(5, 20) * 1e5
    features[:, 10:] = features[:, :10] + 0.3
    assert (features.amax() * 6) ** 5 > 2.0**64
    values = random(20, 3, seed=1)
    torch.testing.assert_close(
        permutohedral_lattice(features.unsqueeze(0)).filter(values), slow_filter(features, values)
    )


@pytest.mark.parametrize(("dims", "spread", "tolerance"), [(1, 8, 0.02), (2, 6, 0.03), (3, 4, 0.04), (5, 3, 0.04)])
def test_is_close_to_the_dense_gaussian_sum(dims: int, spread: float, tolerance: float) -> None:
    features, values = random(dims, 1500) * spread, random(1500, 2, seed=1)
    features[0, :] *= 2
    lattice = permutohedral_lattice(features.unsqueeze(0))
    values[:, 1] = features[0] / features[0].max()  # a ramp: far from the mean at both ends
    ones = torch.ones(1500, 1, dtype=torch.float64)
    ours = lattice.filter(values) / lattice.filter(ones)
    exact = dense_sum(features, values) / dense_sum(features, ones)
    assert (ours - exact).abs().mean() < tolerance / 4 and (ours - exact).abs().max() < 2 * tolerance
    ratio = lattice.filter(ones) / dense_sum(features, ones) / constant_of(dims)
    assert ratio.mean().item() == pytest.approx(1, abs=0.15) and ratio.std() < 0.12


def test_one_point_spreads_like_the_gaussian_wherever_it_lies() -> None:
    axis = torch.linspace(-4, 4, 41, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
    places = 10 * random(30, 2, 1)
    impulse = torch.zeros(1681, 1, dtype=torch.float64)
    impulse[840] = 1
    lattice = permutohedral_lattice(grid + places)
    response = lattice.filter(impulse.repeat(30, 1)).view(30, -1).mean(dim=0) / constant_of(2)
    gaussian = (-0.5 * grid.square().sum(dim=0)).exp()
    assert (response - gaussian).abs().max() < 0.12  # a tenth lower at the top
    assert (response.sum() / gaussian.sum()).item() == pytest.approx(1, abs=0.01)
    covariance = (response * grid) @ grid.t() / response.sum()
    torch.testing.assert_close(covariance, torch.eye(2, dtype=torch.float64), atol=0.03, rtol=0)


def test_is_symmetric_and_linear() -> None:
    lattice = permutohedral_lattice(random(1, 5, 300) * 6)
    a, b = random(300, 1, seed=1), random(300, 1, seed=2)
    torch.testing.assert_close((a * lattice.filter(b)).sum(), (lattice.filter(a) * b).sum())
    torch.testing.assert_close(lattice.filter(2 * a - b), 2 * lattice.filter(a) - lattice.filter(b))
    torch.testing.assert_close(lattice.filter(torch.cat([a, b], dim=1))[:, 1:], lattice.filter(b))


def test_items_of_a_batch_do_not_mix() -> None:
    features, values = random(3, 4, 50) * 3, random(150, 2, seed=1)
    features[2] = features[0]
    together = permutohedral_lattice(features).filter(values).view(3, 50, 2)
    for item in range(3):
        alone = permutohedral_lattice(features[item : item + 1]).filter(values.view(3, 50, 2)[item])
        torch.testing.assert_close(together[item], alone)


def test_equal_points_share_their_corners() -> None:
    lattice = permutohedral_lattice(torch.full((1, 5, 40), 0.37))
    assert lattice.num_vertices == 6
    shared = lattice.filter(torch.ones(40, 1))
    assert shared.dtype == torch.float32 and shared.sub(shared[0]).abs().max() == 0
