"""A mask as one closed polygon along its pixel edges, from which the same mask can be filled again."""

from __future__ import annotations

import numpy as np

Point = tuple[int, int]


def mask_to_polygon(mask: np.ndarray) -> list[Point]:
    """Corners (x, y) of one polygon that covers exactly the pixels of a mask (H,W) bool; none for an empty mask.

    Coordinates are pixel edges: pixel (row y, column x) is the square from (x, y) to (x+1, y+1). Further parts and
    holes hang on the first ring by a line walked there and back, which has no area; filled by parity (even-odd, as
    pycocotools does), the polygon gives the mask back pixel by pixel.
    """
    loops = rings(mask)
    if not loops:
        return []
    start = loops[0][0]
    polygon = list(loops[0])
    for loop in loops[1:]:
        polygon += [start, *loop, loop[0]]
    return polygon


def rings(mask: np.ndarray) -> list[list[Point]]:
    """The closed outlines of a mask (H,W) bool, corners only, outer ones and holes, by their smallest corner."""
    following = _boundary_edges(mask)
    found = []
    for start in sorted(following):
        while following[start]:
            ring, point = [start], following[start].pop()
            while point != start:
                ring.append(point)
                point = following[point].pop()
            found.append(_corners(ring))
    return found


def _boundary_edges(mask: np.ndarray) -> dict[Point, list[Point]]:
    """Pixel edges between inside and outside, {from: [to]}, the inside on their right (y points down)."""
    padded = np.pad(mask.astype(bool), 1)
    inside = padded[1:-1, 1:-1]
    # Neighbour of each pixel, and the edge to it as offsets (x, y) from the pixel's upper left corner.
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    following: dict[Point, list[Point]] = {}
    for neighbour, (x0, y0), (x1, y1) in sides:
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            following.setdefault((x + x0, y + y0), []).append((x + x1, y + y1))
    return following


def _corners(ring: list[Point]) -> list[Point]:
    """A ring of unit steps without the points at which it goes straight on."""
    before, after = ring[-1:] + ring[:-1], ring[1:] + ring[:1]
    return [
        point
        for a, point, b in zip(before, ring, after, strict=True)
        if not (a[0] == point[0] == b[0] or a[1] == point[1] == b[1])
    ]
