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

import torch
from torch import Tensor

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
    NaN counts as largest. Memory is one index and one value per pair (24 MB for a float32 map of 128 x 128 cells
    at radius 10), not one value per path point (112 MB).
    """
    indices = path_argmax(values, radius)
    flat = values.flatten(-2)
    return flat.gather(-1, indices.flatten(-3)).view(indices.shape)


@torch.no_grad()
def path_argmax(values: Tensor, radius: float) -> Tensor:
    """The flat cell index `y * w + x` of the largest value on each path: int64 `(..., P, hs, ws)`.

    Cells are replaced by their rank, which is unique, so the maximum of the ranks names the cell. A path cut
    by a row (or column) is a run of neighbours, and the maxima of runs are shared by all directions.
    """
    height, width = values.shape[-2:]
    window = source_window(height, width, radius)
    by_rank = values.flatten(-2).argsort(dim=-1, stable=True)
    rank_dtype = torch.int16 if height * width < 2**15 else torch.int32
    numbers = torch.arange(height * width, device=values.device).to(rank_dtype).expand(by_rank.shape)
    ranks = torch.empty_like(numbers).scatter_(-1, by_rank, numbers).view(values.shape)
    directions = ordered_directions(radius)
    shape = (*values.shape[:-2], len(directions), window.height, window.width)
    largest = torch.zeros(shape, dtype=rank_dtype, device=values.device)
    if window.height and window.width:
        row_runs, column_runs = _run_maxima(ranks, reach(radius) + 1)
        for position, direction in enumerate(directions):
            target = largest[..., position, :, :]
            for runs, length, offset in _runs_of_path(direction, row_runs, column_runs):
                torch.maximum(target, window.view(runs[length], offset), out=target)
    return by_rank.gather(-1, largest.flatten(-3).long()).view(shape)


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
