"""The neighbourhood of §1.5 by plain loops, for the tests that compare losses with their equations."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

Cell = tuple[int, int]
Pairs = list[tuple[Cell, Cell, list[Cell]]]


def path_between(first: Cell, second: Cell) -> list[Cell]:
    """All cells of the box of two cells that lie less than 1 from the straight line through them."""
    (ya, xa), (yb, xb) = first, second
    dy, dx = yb - ya, xb - xa
    return [
        (y, x)
        for y in range(min(ya, yb), max(ya, yb) + 1)
        for x in range(min(xa, xb), max(xa, xb) + 1)
        if (dy * (x - xa) - dx * (y - ya)) ** 2 / (dy**2 + dx**2) < 1
    ]


def pairs_by_loop(height: int, width: int, radius: float) -> Pairs:
    """(source cell, destination cell, cells of the path) of every pair of a map."""
    reach = math.ceil(radius) - 1
    directions = [(0, dx) for dx in range(1, reach + 1)]
    directions += [
        (dy, dx) for dy in range(1, reach + 1) for dx in range(-reach, reach + 1) if dy**2 + dx**2 < radius**2
    ]
    return [
        ((y, x), (y + dy, x + dx), path_between((y, x), (y + dy, x + dx)))
        for y in range(height - reach)
        for x in range(reach, width - reach)
        for dy, dx in directions
    ]


@pytest.fixture(scope="session")
def slow_pairs() -> Callable[[int, int, float], Pairs]:
    return pairs_by_loop
