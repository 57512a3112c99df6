"""Flow on cells, its derivative and Eq. 3 against loops written from the equations, and which cells can be used."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.errors import WsvisError
from wsvis_core.flow.consistency import occluded
from wsvis_core.flowirn.flow_gradient import (
    boundary_by_motion,
    flow_at_cells,
    flow_gradient,
    gradient_differences,
    quantile_gradient_scale,
)
from wsvis_core.flowirn.losses import flow_boundary_loss, pair_affinity
from wsvis_core.flowirn.paths import ordered_directions

FPRIMES, DIFFERENCES = ("jacobian", "magnitude", "partials"), ("forward", "central", "sobel")
PAIR_COSTS, PAIRS, REDUCES = ("endpoint", "path_max"), ("all", "fg_only"), ("mean", "sum_j_mean_i")
Field = list[list[float]]


def slow_derivative(field: Field, valid: Any, y: int, x: int, axis: str, difference: str) -> tuple[float, bool]:
    """Derivative of a field at a cell along an axis, and whether all cells from its first to its last are valid."""
    height, width = len(field), len(field[0])
    place, length = (x, width) if axis == "x" else (y, height)
    step = 1 if difference == "forward" else 2
    if length <= step:
        return 0.0, False
    # Where the stencil would stick out, the nearest one that does not is used.
    first = min(max(place - step + 1, 0), length - 1 - step)
    total, known = 0.0, bool(valid[y][x])
    for across, weight in ((-1, 1), (0, 2), (1, 1)) if difference == "sobel" else ((0, 4),):
        line = min(max((y if axis == "x" else x) + across, 0), (height if axis == "x" else width) - 1)
        cells = [(line, i) if axis == "x" else (i, line) for i in range(first, first + step + 1)]
        (ya, xa), (yb, xb) = cells[0], cells[-1]
        total += weight / 4 * (field[yb][xb] - field[ya][xa]) / step
        known = known and all(bool(valid[cy][cx]) for cy, cx in cells)
    return total, known


def slow_fprime(flow: Tensor, valid: Any, fprime: str, difference: str) -> dict[tuple[int, int], list[float] | None]:
    """F' of every cell of one frame (2, h, w); None where it cannot be known."""
    u, v = flow.tolist()
    fields = [u, v]
    if fprime == "magnitude":
        fields = [[[math.sqrt(a * a + b * b) for a, b in zip(*rows, strict=True)] for rows in zip(u, v, strict=True)]]
    result: dict[tuple[int, int], list[float] | None] = {}
    for y, x in itertools.product(range(len(u)), range(len(u[0]))):
        along = {a: [slow_derivative(f, valid, y, x, a, difference) for f in fields] for a in "xy"}
        known = all(k for values in along.values() for _, k in values)
        dx, dy = ([value for value, _ in along[a]] for a in "xy")
        numbers = [math.hypot(*dx), math.hypot(*dy)] if fprime == "partials" else [*dx, *dy]
        result[y, x] = numbers if known else None
    return result


def slow_factor(cells: list[list[float] | None], scale: float | str) -> float:
    if scale != "quantile":
        return float(scale)
    norms = sorted(math.hypot(*numbers) for numbers in cells if numbers is not None)
    size = norms[max(1, round(0.95 * len(norms))) - 1] if norms else 0.0
    return min(100.0, 4 / size) if size > 0 else 1.0


def slow_flow_boundary_loss(
    slow_pairs: Any, boundary: Tensor, flow: Tensor, valid: Tensor, labels: Tensor, *, radius: float, lambda_: float,
    fprime: str, difference: str, pair_cost: str, pairs: str, reduce: str, clip: float | None,
    gradient_scale: float | str, num_classes: int,
) -> float:  # fmt: skip
    """Eq. 3 of a batch, pair by pair."""
    frames = [slow_fprime(f, v, fprime, difference) for f, v in zip(flow, valid, strict=True)]
    factor = slow_factor([numbers for frame in frames for numbers in frame.values()], gradient_scale)
    total, count, sources = 0.0, 0, set()
    for b, frame in enumerate(frames):
        for i, j, path in slow_pairs(*boundary.shape[-2:], radius):
            here, others = frame[i], [frame[k] for k in (path if pair_cost == "path_max" else [j])]
            if here is None or any(other is None for other in others):
                continue
            if pairs == "fg_only" and not all(1 <= int(labels[b][k]) <= num_classes for k in (i, j)):
                continue
            g = max(factor * math.dist(here, other) for other in others if other is not None)
            g = g if clip is None else min(g, clip)
            alpha = 1 - max(float(boundary[b][k]) for k in path)
            total += g * alpha + lambda_ * abs(1 - alpha)
            count += 1
            sources.add((b, i))
    number = count if reduce == "mean" else len(sources)
    return total / number if number else 0.0


def random_frames(batch: int, height: int, width: int, seed: int, share_valid: float = 0.9) -> Any:
    """boundary, flow (NaN where invalid), valid, labels with 0..3, a class too many, and 255."""
    generator = torch.Generator().manual_seed(seed)
    size = (batch, height, width)
    boundary = torch.rand(size, dtype=torch.float64, generator=generator)
    flow = torch.randn(batch, 2, height, width, dtype=torch.float64, generator=generator) * 3
    valid = torch.rand(size, generator=generator) < share_valid
    flow = torch.where(valid[:, None], flow, float("nan"))
    labels = torch.tensor([0, 1, 1, 2, 2, 3, 4, 255])[torch.randint(0, 8, size, generator=generator)]
    return boundary, flow, valid, labels


@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([1.0, 0.95, 0.0]), st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_fprime_equals_a_slow_loop(height: int, width: int, share_valid: float, seed: int) -> None:
    _, flow, valid, _ = random_frames(1, height, width, seed, share_valid)
    for fprime, difference in itertools.product(FPRIMES, DIFFERENCES):
        gradient, usable = flow_gradient(flow, valid, fprime=fprime, difference=difference)
        for cell, numbers in slow_fprime(flow[0], valid[0], fprime, difference).items():
            assert bool(usable[0][cell]) == (numbers is not None)
            if numbers is not None:
                assert gradient[0, :, *cell].tolist() == pytest.approx(numbers)


@pytest.mark.parametrize(
    ("fprime", "difference", "pair_cost"), list(itertools.product(FPRIMES, DIFFERENCES, PAIR_COSTS))
)
def test_eq_3_equals_a_slow_loop_with_every_option(
    slow_pairs: Any, fprime: str, difference: str, pair_cost: str
) -> None:
    boundary, flow, valid, labels = random_frames(2, 7, 9, 5)
    alpha = pair_affinity(boundary, 3)
    extras: tuple[tuple[float | None, Any], ...] = ((20.0, 1.0), (None, 0.7), (1.5, "quantile"))
    values = set()
    for pairs, reduce, (clip, scale) in itertools.product(PAIRS, REDUCES, extras):
        options: dict[str, Any] = {
            "radius": 3, "lambda_": 1.5, "fprime": fprime, "difference": difference, "pair_cost": pair_cost,
            "pairs": pairs, "reduce": reduce, "clip": clip, "gradient_scale": scale, "num_classes": 3,
        }  # fmt: skip
        fast = float(flow_boundary_loss(alpha, flow, valid, labels, weight=0.5, **options))
        slow = slow_flow_boundary_loss(slow_pairs, boundary, flow, valid, labels, **options)
        assert slow > 0 and fast == pytest.approx(0.5 * slow), options
        values.add(round(fast, 9))
    assert len(values) == 12


@given(
    st.integers(1, 2), st.integers(1, 8), st.integers(1, 10), st.sampled_from([2, 2.5, 4]), st.sampled_from(FPRIMES),
    st.sampled_from(DIFFERENCES), st.sampled_from(PAIR_COSTS), st.sampled_from(PAIRS), st.sampled_from(REDUCES),
    st.sampled_from([1.0, "quantile"]), st.sampled_from([1.0, 0.97, 0.6, 0.0]), st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_eq_3_equals_a_slow_loop_at_any_size(
    slow_pairs: Any, batch: int, height: int, width: int, radius: float, fprime: str, difference: str,
    pair_cost: str, pairs: str, reduce: str, scale: Any, share_valid: float, seed: int,
) -> None:  # fmt: skip
    boundary, flow, valid, labels = random_frames(batch, height, width, seed, share_valid)
    options: dict[str, Any] = {
        "radius": radius, "lambda_": 2.0, "fprime": fprime, "difference": difference, "pair_cost": pair_cost,
        "pairs": pairs, "reduce": reduce, "clip": 20.0, "gradient_scale": scale, "num_classes": 3,
    }  # fmt: skip
    boundary.requires_grad_()
    fast = flow_boundary_loss(pair_affinity(boundary, radius), flow, valid, labels, **options)
    fast.backward()
    slow = slow_flow_boundary_loss(slow_pairs, boundary.detach(), flow, valid, labels, **options)
    assert fast.item() == pytest.approx(slow)
    assert boundary.grad is not None and bool(boundary.grad.isfinite().all())


@given(st.integers(1, 14), st.integers(1, 14), st.sampled_from([2, 3, 4]), st.booleans(), st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_flow_at_cells_equals_a_slow_loop(height: int, width: int, stride: int, divided: bool, seed: int) -> None:
    _, flow, valid, _ = random_frames(1, height, width, seed, 0.95)
    cells, usable = flow_at_cells(flow, valid, stride=stride, value_scale=2.5, rescaled_by_stride=divided)
    assert usable.shape == (1, (height - 1) // stride + 1, (width - 1) // stride + 1)
    for y, x in itertools.product(range(usable.shape[1]), range(usable.shape[2])):
        rows, columns = (
            range(y * stride, min((y + 1) * stride, height)),
            range(x * stride, min((x + 1) * stride, width)),
        )
        pixels = list(itertools.product(rows, columns))
        good = [p for p in pixels if valid[0][p]]
        assert bool(usable[0, y, x]) == (len(good) == len(pixels))
        for axis in (0, 1):
            mean = sum(float(flow[0, axis][p]) for p in good) / max(len(good), 1)
            assert float(cells[0, axis, y, x]) == pytest.approx(2.5 * mean / (stride if divided else 1))


def test_flow_without_a_counterpart_drops_its_cells() -> None:
    """The forward-backward check as validity: what Eq. 3 sees when `valid` is "not occluded"."""
    forward, backward = torch.zeros(1, 2, 32, 48), torch.zeros(1, 2, 32, 48)
    forward[0, 0, 8:24, 8:24] = 4.0
    backward[0, 0, 8:24, 12:28] = -4.0
    cells, usable = flow_at_cells(forward, ~occluded(forward, backward))
    covered = torch.zeros(1, 8, 12, dtype=torch.bool)
    covered[0, 2:6, 6] = True  # the strip of background, four pixels wide, that the square will cover
    assert torch.equal(usable, ~covered)
    alpha = pair_affinity(torch.zeros(1, 8, 12), 3)
    everywhere = flow_boundary_loss(alpha, cells, None, radius=3)
    assert 0 < float(flow_boundary_loss(alpha, cells, usable, radius=3)) < float(everywhere)


def step_flow(height: int = 5, width: int = 8, at: int = 4, step: float = 6.0) -> torch.Tensor:
    flow = torch.zeros(1, 2, height, width)
    flow[:, 0, :, at:] = step
    return flow


@pytest.mark.parametrize(
    ("difference", "row"),
    [("forward", [0, 0, 0, 6, 0, 0, 0, 0]), ("central", [0, 0, 0, 3, 3, 0, 0, 0]), ("sobel", [0, 0, 0, 3, 3, 0, 0, 0])],
)
def test_a_step_between_two_cells(difference: Any, row: list[float]) -> None:
    gradient, usable = flow_gradient(step_flow(), difference=difference)
    assert gradient.shape == (1, 4, 5, 8) and usable.all()
    assert gradient[0, 0, 2].tolist() == row
    assert gradient[0, 1:].abs().max() == 0


def test_channels_are_du_dx_dv_dx_du_dy_dv_dy() -> None:
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    flow = torch.stack([2 * columns + 3 * rows, 5 * columns + 7 * rows])[None]
    for difference in ("forward", "central", "sobel"):
        inner = flow_gradient(flow, difference=difference)[0][0, :, 2, 3]
        assert inner.tolist() == [2, 5, 3, 7]
    partials = flow_gradient(flow, fprime="partials")[0][0, :, 2, 3]
    torch.testing.assert_close(partials, torch.tensor([29.0, 58.0]).sqrt())
    scaled = torch.stack([3 * columns, 4 * columns])[None]
    assert flow_gradient(scaled, fprime="magnitude")[0][0, :, 2, 3].tolist() == [5, 0]


def test_the_last_row_and_column_repeat_the_one_before() -> None:
    flow = torch.rand(1, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    gradient, _ = flow_gradient(flow)
    assert torch.equal(gradient[:, :2, :, -1], gradient[:, :2, :, -2])
    assert torch.equal(gradient[:, 2:, -1], gradient[:, 2:, -2])


@pytest.mark.parametrize("difference", ["forward", "central", "sobel"])
def test_a_derivative_that_reads_an_invalid_cell_is_unusable(difference: Any) -> None:
    flow = torch.rand(1, 2, 7, 8, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(1, 7, 8, dtype=torch.bool)
    valid[0, 3, 4] = False
    broken = flow.clone()
    broken[0, :, 3, 4] = float("nan")
    gradient, usable = flow_gradient(broken, valid, difference=difference)
    assert torch.equal(gradient.isnan().any(1) & usable, torch.zeros(1, 7, 8, dtype=torch.bool))
    assert not usable[0, 3, 4] and usable[0, 0, 0] and usable[0, 6, 7]


def test_one_cell_has_no_gradient_and_is_unusable() -> None:
    gradient, usable = flow_gradient(torch.ones(1, 2, 1, 1))
    assert gradient.tolist() == [[[[0]], [[0]], [[0]], [[0]]]] and not usable.any()


def test_path_max_sees_a_step_between_the_ends() -> None:
    gradient, usable = flow_gradient(step_flow(3, 8, at=4))
    ends, _ = gradient_differences(gradient, usable, radius=3, pair_cost="endpoint")
    path, known = gradient_differences(gradient, usable, radius=3, pair_cost="path_max")
    # Sources start at column 2 and F' is 6 in column 3 only: the pair of columns 2 and 4 straddles it.
    position = ordered_directions(3).index((0, 2))
    assert float(ends[0, position, 0, 0]) == 0 and float(path[0, position, 0, 0]) == 6
    assert known.all() and (path >= ends).all()


def test_cells_average_flow_without_dividing_by_the_stride() -> None:
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0, :, 4:] = 10.0
    cells, valid = flow_at_cells(flow)
    assert cells[0, 0].tolist() == [[0, 10], [0, 10]] and valid.all()
    assert flow_at_cells(flow, value_scale=2.5)[0].max() == 25
    assert flow_at_cells(flow, rescaled_by_stride=True)[0].max() == 2.5


def test_cells_at_the_border_and_over_padding() -> None:
    flow = torch.full((1, 2, 6, 9), 3.0)
    valid = torch.ones(1, 6, 9, dtype=torch.bool)
    valid[:, :, 7:] = False
    flow[:, :, :, 7:] = float("nan")
    cells, usable = flow_at_cells(flow, valid)
    assert cells.shape == (1, 2, 2, 3)
    assert usable.tolist() == [[[True, False, False], [True, False, False]]]
    assert cells[0, 0].tolist() == [[3, 3, 0], [3, 3, 0]]


def test_quantile_scale() -> None:
    gradient = torch.zeros(1, 4, 10, 10)
    gradient[0, 0] = torch.arange(1.0, 101.0).view(10, 10)
    usable = torch.ones(1, 10, 10, dtype=torch.bool)
    assert quantile_gradient_scale(gradient, usable, quantile=0.5, quantile_value=25) == 0.5
    assert quantile_gradient_scale(gradient / 1e6, usable) == 100
    assert quantile_gradient_scale(gradient * 0, usable) == 1
    assert quantile_gradient_scale(gradient, ~usable) == 1
    with pytest.raises(WsvisError, match=r"^quantile 1.5 is not in 0..1$"):
        quantile_gradient_scale(gradient, usable, quantile=1.5)


def test_the_boundary_is_averaged_on_motion_edges_and_where_motion_is_smooth() -> None:
    boundary = torch.tensor([[[0.9, 0.1, 0.3, 0.5, 0.7]]])
    gradient = torch.tensor([[[[2.5, 0.0, 0.4, 1.0, 9.0]]]])
    usable = torch.tensor([[[True, True, True, True, False]]])
    means = boundary_by_motion(boundary, gradient, usable, limit=2.0)
    # 1.0 lies between lambda / 4 and lambda: neither; the last cell cannot be known.
    assert means == pytest.approx({"boundary_on_motion_edges": 0.9, "boundary_in_smooth_motion": 0.2})
    still = boundary_by_motion(boundary, torch.zeros(1, 4, 1, 5), usable, limit=2.0)
    assert still == pytest.approx({"boundary_in_smooth_motion": 0.45})
    assert boundary_by_motion(boundary, gradient, torch.zeros(1, 1, 5, dtype=torch.bool), limit=2.0) == {}
