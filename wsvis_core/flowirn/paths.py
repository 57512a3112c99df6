"""Pixel pairs within a radius and the straight paths between them (IRN's neighbourhood).

Every function that speaks of pairs uses one fixed order of directions, `ordered_directions(radius)`, and one
rectangle of source cells, `source_window(height, width, radius)`. A pair tensor has the shape
`(..., P, hs, ws)`: P directions, and the `hs x ws` source cells. The destination of source cell `(y, x)` and
direction `(dy, dx)` is the cell `(y + dy, x + dx)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wsvis_core.errors import WsvisError

Offset = tuple[int, int]


@dataclass(frozen=True)
class SourceWindow:
    """The rectangle of source cells: rows `top .. top+height-1`, columns `left .. left+width-1`."""

    top: int
    left: int
    height: int
    width: int

    def view(self, values: Tensor, offset: Offset = (0, 0)) -> Tensor:
        """A view `(..., hs, ws)` of `values (..., h, w)`: for every source cell the value at cell + offset."""
        top, left = self.top + offset[0], self.left + offset[1]
        return values[..., top : top + self.height, left : left + self.width]


def reach(radius: float) -> int:
    """The largest row or column distance between the two cells of a pair: `ceil(radius) - 1`."""
    if not radius > 1:
        raise WsvisError(f"path radius {radius} is too small: it must be greater than 1 cell")
    return math.ceil(radius) - 1


@lru_cache(maxsize=16)
def half_plane_directions(radius: float) -> tuple[Offset, ...]:
    """Directions `(dy, dx)` that visit each unordered pair of cells closer than `radius` once.

    `(0, 1), (0, 2) ...` first, then row by row `dy = 1 ..` with `dx` ascending and `dx^2 + dy^2 < radius^2`.
    """
    limit = reach(radius)
    rightwards = [(0, dx) for dx in range(1, limit + 1)]
    downwards = [
        (dy, dx) for dy in range(1, limit + 1) for dx in range(-limit, limit + 1) if dx * dx + dy * dy < radius * radius
    ]
    return tuple(rightwards + downwards)


@lru_cache(maxsize=1024)
def path_offsets(direction: Offset) -> tuple[Offset, ...]:
    """Cells `(y, x)`, relative to the source, on the path from `(0, 0)` to `direction`; both ends belong to it.

    All integer points of the box spanned by the two ends whose distance to the straight line is below 1,
    scanned row by row. Oblique paths are two or three cells thick: `(1, -1)` has 4 points.
    """
    dy, dx = direction
    squared_length = dy * dy + dx * dx
    return tuple(
        (y, x)
        for y in range(min(0, dy), max(0, dy) + 1)
        for x in range(min(0, dx), max(0, dx) + 1)
        if (dy * x - dx * y) ** 2 < squared_length
    )


@lru_cache(maxsize=16)
def ordered_directions(radius: float) -> tuple[Offset, ...]:
    """All directions of `radius` in the order of every pair tensor: by path length, then as generated."""
    return tuple(sorted(half_plane_directions(radius), key=lambda direction: len(path_offsets(direction))))


@lru_cache(maxsize=16)
def directions_by_path_length(radius: float) -> dict[int, tuple[Offset, ...]]:
    """Path length (cells, both ends included) -> its directions; radius 5 gives {2: 2, 3: 2, 4: 4, ...}."""
    groups: dict[int, list[Offset]] = {}
    for direction in ordered_directions(radius):
        groups.setdefault(len(path_offsets(direction)), []).append(direction)
    return {length: tuple(directions) for length, directions in groups.items()}


def source_window(height: int, width: int, radius: float) -> SourceWindow:
    """The source cells of an `height x width` map whose destinations lie inside it for every direction.

    Rows `0 .. h-1-r`, columns `r .. w-1-r` with `r = reach(radius)`; height or width 0 on a map too small.
    """
    margin = reach(radius)
    return SourceWindow(0, margin, max(0, height - margin), max(0, width - 2 * margin))


def source_values(values: Tensor, radius: float) -> Tensor:
    """`values (..., h, w)` at the source cells: a view `(..., 1, hs, ws)` that broadcasts over directions."""
    window = source_window(values.shape[-2], values.shape[-1], radius)
    return window.view(values).unsqueeze(-3)


def destination_values(values: Tensor, radius: float) -> Tensor:
    """`values (..., h, w)` at the destination of every pair: `(..., P, hs, ws)`, same dtype."""
    window = source_window(values.shape[-2], values.shape[-1], radius)
    return torch.stack([window.view(values, offset) for offset in ordered_directions(radius)], dim=-3)


def path_maximum(values: Tensor, radius: float) -> Tensor:
    """The largest value on the path of every pair: `values (..., h, w)` -> `(..., P, hs, ws)`.

    The gradient goes to the one cell that holds the maximum (among equal cells the last one in scan order).
    NaN counts as largest. A gradient needs 2 bytes per pair (4 on maps of 2^15 cells and more): 4 MB for a map of
    128 x 128 cells at radius 10, where the values on all paths would be 112 MB.
    """
    if values.requires_grad and torch.is_grad_enabled():
        maximum: Tensor = _PathMaximum.apply(values, radius)
        return maximum
    return _largest_on_paths(values, radius)


class _PathMaximum(torch.autograd.Function):
    """`path_maximum` with its gradient: cells become ranks, which are unique, so a maximum names its cell."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, radius: float) -> Tensor:
        ascending, order = values.flatten(-2).sort(dim=-1, stable=True)
        narrow = torch.int16 if order.shape[-1] < 2**15 else torch.int32
        numbers = torch.arange(order.shape[-1], device=values.device).to(narrow).expand(order.shape)
        ranks = torch.empty_like(numbers).scatter_(-1, order, numbers)
        largest = _largest_on_paths(ranks.view(values.shape), radius)
        result = values.new_empty(largest.shape)
        # Indices take 64 bits: one direction at a time they stay in the processor's cache.
        for target, rank in zip(result.unbind(-3), largest.unbind(-3), strict=True):
            target.copy_(ascending.gather(-1, rank.flatten(-2).long()).view(rank.shape))
        ctx.save_for_backward(order, largest)
        ctx.shape = values.shape
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        order, largest = ctx.saved_tensors
        by_rank = gradient.new_zeros(order.shape)
        for part, rank in zip(gradient.unbind(-3), largest.unbind(-3), strict=True):
            by_rank.scatter_add_(-1, rank.flatten(-2).long(), part.flatten(-2))
        return torch.empty_like(by_rank).scatter_(-1, order, by_rank).view(ctx.shape), None


def _largest_on_paths(values: Tensor, radius: float) -> Tensor:
    """`path_maximum` without gradient, of any type of number.

    A path cut by a row (or column) is a run of neighbours, and the maxima of runs are shared by all directions.
    """
    height, width = values.shape[-2:]
    window = source_window(height, width, radius)
    directions = ordered_directions(radius)
    result = values.new_empty((*values.shape[:-2], len(directions), window.height, window.width))
    if result.numel():
        row_runs, column_runs = _run_maxima(values, reach(radius) + 1)
        for target, direction in zip(result.unbind(-3), directions, strict=True):
            runs = _runs_of_path(direction, row_runs, column_runs)
            views = [window.view(maxima[length], offset) for maxima, length, offset in runs]
            target.copy_(views[0])
            for view in views[1:]:
                torch.maximum(target, view, out=target)
    return result


def _run_maxima(values: Tensor, longest: int) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Maxima over runs of 1 .. `longest` cells that start at each cell, along rows and along columns."""
    along_rows, along_columns = {1: values}, {1: values}
    for length in range(2, longest + 1):
        row, column = along_rows[length - 1].clone(), along_columns[length - 1].clone()
        torch.maximum(row[..., :-1], along_rows[length - 1][..., 1:], out=row[..., :-1])
        torch.maximum(column[..., :-1, :], along_columns[length - 1][..., 1:, :], out=column[..., :-1, :])
        along_rows[length], along_columns[length] = row, column
    return along_rows, along_columns


def _runs_of_path(
    direction: Offset, row_runs: dict[int, Tensor], column_runs: dict[int, Tensor]
) -> list[tuple[dict[int, Tensor], int, Offset]]:
    """The path as few runs: `(run maxima, run length, offset of the run's first cell)`."""
    dy, dx = direction
    axis, runs = (0, row_runs) if abs(dy) <= abs(dx) else (1, column_runs)
    lines: dict[int, list[int]] = {}
    for point in path_offsets(direction):
        lines.setdefault(point[axis], []).append(point[1 - axis])
    pieces = []
    for line, cells in lines.items():
        first = min(cells)
        pieces.append((runs, len(cells), (line, first) if axis == 0 else (first, line)))
    return pieces
