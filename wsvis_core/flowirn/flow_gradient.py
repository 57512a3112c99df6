"""The flow gradient F' of the flow-boundary loss: flow on stride-4 cells, its spatial derivative, pair differences."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.paths import (
    destination_values,
    ordered_directions,
    path_offsets,
    source_values,
    source_window,
)

GradientScale = float | Literal["quantile"]
LARGEST_SCALE = 100.0


def flow_at_cells(
    flow: Tensor,
    valid: Tensor | None = None,
    *,
    stride: int = 4,
    value_scale: float = 1.0,
    rescaled_by_stride: bool = False,
) -> tuple[Tensor, Tensor]:
    """Mean flow of each `stride x stride` cell and whether all its pixels are valid.

    flow (B, 2, H, W), (dx, dy) in pixels · valid bool (B, H, W), None = all · result (B, 2, h, w) and bool (B, h, w),
    `h = (H - 1) // stride + 1`; a cell cut by the border averages the pixels it has.

    Values are multiplied by `value_scale`, and are *not* divided by the stride unless `rescaled_by_stride`: a motion
    step of D pixels between two cells stays D. Paper silent about units. For flow units of the original frame pass
    `value_scale = native width / working width`; values already follow a random rescale of the working frame.
    """
    height, width = flow.shape[-2:]
    border = (0, -width % stride, 0, -height % stride)
    inside = torch.ones(flow.shape[0], 1, height, width, dtype=flow.dtype, device=flow.device)
    usable = inside if valid is None else inside * valid.unsqueeze(1)
    share = avg_pool2d(pad(inside, border), stride)
    good = avg_pool2d(pad(usable, border), stride)
    mean = avg_pool2d(pad(torch.where(usable > 0, flow, 0), border), stride) / good.clamp_min(1 / stride**2)
    factor = value_scale / stride if rescaled_by_stride else value_scale
    return mean * factor, (good >= share).squeeze(1)


def flow_gradient(
    flow: Tensor,
    valid: Tensor | None = None,
    *,
    fprime: Literal["jacobian", "magnitude", "partials"] = "jacobian",
    difference: Literal["forward", "central", "sobel"] = "forward",
) -> tuple[Tensor, Tensor]:
    """F' at every cell, 0 where it cannot be known, and where it can: (B, K, h, w) and bool (B, h, w).

    flow (B, 2, h, w), anything where it is invalid; the derivative is per cell, in the flow's own unit. A cell is
    known when it is valid and every cell of its derivatives is, those between their ends too.

    - fprime "jacobian": `(du/dx, dv/dx, du/dy, dv/dy)`, K = 4. Affine flow, that is a rigid plane under any motion,
      has a constant Jacobian, so its own slope never looks like a boundary. "magnitude": gradient of `|F|` along
      x and y, K = 2. "partials": `(|dF/dx|, |dF/dy|)`, K = 2. Paper: "a two-dimensional vector", no more.
    - difference "forward": `f(x+1) - f(x)`, which keeps a step between two cells whole; "central": half of
      `f(x+1) - f(x-1)`; "sobel": central with 1-2-1 smoothing across. In the last (and first) row or column, where
      a neighbour is missing, the derivative of the nearest row or column that has it is repeated.
    """
    fields = flow
    if fprime == "magnitude":
        fields = torch.linalg.vector_norm(flow, dim=1, keepdim=True)
    along_x = _derivative(fields, difference)
    along_y = _derivative(fields.transpose(-1, -2), difference).transpose(-1, -2)
    usable = torch.ones_like(flow[:, 0], dtype=torch.bool) if valid is None else valid.bool()
    known_x = _known(usable, difference)
    known_y = _known(usable.transpose(-1, -2), difference).transpose(-1, -2)
    if fprime == "partials":
        along_x, along_y = (torch.linalg.vector_norm(d, dim=1, keepdim=True) for d in (along_x, along_y))
    elif fprime not in ("jacobian", "magnitude"):
        raise WsvisError(f"fprime '{fprime}' is not one of jacobian, magnitude, partials")
    known = known_x & known_y
    # Flow may be NaN where it is invalid; a loss that multiplies it away would be NaN.
    return torch.where(known[:, None], torch.cat([along_x, along_y], dim=1), 0), known


def scaled_flow_gradient(
    flow: Tensor,
    valid: Tensor | None = None,
    *,
    fprime: Literal["jacobian", "magnitude", "partials"] = "jacobian",
    difference: Literal["forward", "central", "sobel"] = "forward",
    gradient_scale: GradientScale = 1.0,
    quantile: float = 0.95,
    quantile_value: float = 4.0,
) -> tuple[Tensor, Tensor]:
    """`flow_gradient` in the unit Eq. 3 compares with lambda: times `gradient_scale` (see `flow_boundary_loss`)."""
    gradient, usable = flow_gradient(flow, valid, fprime=fprime, difference=difference)
    return gradient * resolved_scale(gradient, usable, gradient_scale, quantile, quantile_value), usable


def _derivative(values: Tensor, difference: str) -> Tensor:
    """Derivative along the last axis, (B, C, h, w) -> same shape; borders repeat the nearest known value."""
    if difference == "sobel":
        padded = pad(values, (0, 0, 1, 1), mode="replicate")
        values = (padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]) / 4
    elif difference not in ("forward", "central"):
        raise WsvisError(f"difference '{difference}' is not one of forward, central, sobel")
    if difference == "forward":
        return _repeat_border(values[..., 1:] - values[..., :-1], values, before=0)
    return _repeat_border((values[..., 2:] - values[..., :-2]) / 2, values, before=1)


def _known(valid: Tensor, difference: str) -> Tensor:
    """Where every cell that the derivative along the last axis reads is valid: bool (B, h, w)."""
    if difference == "sobel":
        padded = pad(valid[:, None].float(), (0, 0, 1, 1), mode="replicate")[:, 0] > 0
        valid = padded[..., :-2, :] & padded[..., 1:-1, :] & padded[..., 2:, :]
    if difference == "forward":
        known, before = valid[..., 1:] & valid[..., :-1], 0
    else:
        known, before = valid[..., 2:] & valid[..., 1:-1] & valid[..., :-2], 1
    return _repeat_border(known, valid, before)


def _repeat_border(inner: Tensor, like: Tensor, before: int) -> Tensor:
    """`inner` widened to the last axis of `like` by repeating its first (`before` times) and last column."""
    width = like.shape[-1]
    if inner.shape[-1] == 0:
        return torch.zeros_like(like)
    index = torch.arange(width, device=like.device).sub(before).clamp(0, inner.shape[-1] - 1)
    return inner[..., index]


def gradient_differences(
    gradient: Tensor,
    usable: Tensor,
    *,
    radius: float,
    pair_cost: Literal["endpoint", "path_max"] = "endpoint",
) -> tuple[Tensor, Tensor]:
    """`g_ij` of every pair and whether it can be known: (B, P, hs, ws) float and bool.

    gradient (B, K, h, w), usable (B, h, w) from `flow_gradient`. "endpoint": `|F'(i) - F'(j)|`;
    "path_max": the largest `|F'(i) - F'(k)|` over the cells k of the path, all of which must be usable.
    """
    if pair_cost == "endpoint":
        squared = torch.zeros((), dtype=gradient.dtype, device=gradient.device)
        for channel in gradient.unbind(1):
            squared = squared + (source_values(channel, radius) - destination_values(channel, radius)) ** 2
        return squared.sqrt(), source_values(usable, radius) & destination_values(usable, radius)
    if pair_cost != "path_max":
        raise WsvisError(f"pair_cost '{pair_cost}' is not one of endpoint, path_max")
    return _largest_on_path(gradient, usable, radius)


def _largest_on_path(gradient: Tensor, usable: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    window = source_window(gradient.shape[-2], gradient.shape[-1], radius)
    directions = ordered_directions(radius)
    shape = (gradient.shape[0], len(directions), window.height, window.width)
    largest = gradient.new_zeros(shape)
    known = usable.new_ones(shape)
    source = window.view(gradient)
    to_cell: dict[tuple[int, int], Tensor] = {}
    for position, direction in enumerate(directions):
        for offset in path_offsets(direction):
            if offset not in to_cell:
                to_cell[offset] = (window.view(gradient, offset) - source).square().sum(dim=1)
            torch.maximum(largest[:, position], to_cell[offset], out=largest[:, position])
            known[:, position] &= window.view(usable, offset)
    return largest.sqrt(), known


def boundary_by_motion(boundary: Tensor, gradient: Tensor, usable: Tensor, *, limit: float) -> dict[str, float]:
    """Mean boundary on motion edges, cells with `|F'| > limit`, and where motion is smooth, `|F'| < limit / 4`.

    boundary (B, h, w) in 0..1 · gradient (B, K, h, w) and usable (B, h, w) as in `flow_gradient`, scaled as there;
    with limit = lambda, Eq. 3 asks for a boundary on the first and for none on the second. A mean over no cell is left
    out. A loss whose unit is wrong shows: both means fall to 0 (no edge is strong enough) or rise together.
    """
    size = torch.linalg.vector_norm(gradient, dim=1)
    places = {"boundary_on_motion_edges": size > limit, "boundary_in_smooth_motion": size < limit / 4}
    return {name: float(boundary[place & usable].mean()) for name, place in places.items() if (place & usable).any()}


def quantile_gradient_scale(
    gradient: Tensor, usable: Tensor, *, quantile: float = 0.95, quantile_value: float = 4.0
) -> float:
    """The factor that brings the `quantile` of `|F'|` over usable cells to `quantile_value`.

    gradient (B, K, h, w), usable bool (B, h, w) from `flow_gradient`, of a batch or of a sample of the data set.
    At most 100, so that the noise of a batch without motion is not blown up; 1 where no cell is usable or all
    gradients vanish.
    """
    if not 0 < quantile <= 1:
        raise WsvisError(f"quantile {quantile} is not in 0..1")
    norms = torch.linalg.vector_norm(gradient, dim=1)[usable]
    if len(norms) == 0:
        return 1.0
    rank = min(len(norms), max(1, round(quantile * len(norms))))
    size = float(norms.kthvalue(rank).values)
    return min(LARGEST_SCALE, quantile_value / size) if size > 0 else 1.0


def resolved_scale(
    gradient: Tensor, usable: Tensor, scale: GradientScale, quantile: float, quantile_value: float
) -> float:
    """The number behind `gradient_scale`: itself, or the batch's `quantile_gradient_scale`."""
    if scale == "quantile":
        return quantile_gradient_scale(gradient, usable, quantile=quantile, quantile_value=quantile_value)
    if isinstance(scale, str):
        raise WsvisError(f"gradient_scale '{scale}' is neither a number nor 'quantile'")
    return scale
