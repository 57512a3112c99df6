"""Flow on cells, its derivative, and which cells can be used."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.flow_gradient import (
    flow_at_cells,
    flow_gradient,
    gradient_differences,
    quantile_gradient_scale,
)
from wsvis_core.flowirn.paths import ordered_directions


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
