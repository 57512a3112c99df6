"""Every step of instance grouping against a loop over cells or pixels written from §1.10, and mirrored maps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.flowirn.instances import cluster_cells, decode, detections, group_instances, track_centroids

Cell = tuple[int, int]


def random_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grid(height: int, width: int) -> Tensor:
    rows, columns = torch.arange(float(height)), torch.arange(float(width))
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def slow_centroids(displacement: Tensor, iterations: int) -> Tensor:
    """Where every cell ends, not rounded: float64 (2, h, w)."""
    _, height, width = displacement.shape
    field = displacement.tolist()
    result = torch.zeros(2, height, width, dtype=torch.float64)
    for y0 in range(height):
        for x0 in range(width):
            y, x = float(y0), float(x0)
            for _ in range(iterations):
                ya, xa, wy, wx = int(y), int(x), y - int(y), x - int(x)
                yb, xb = min(ya + 1, height - 1), min(xa + 1, width - 1)
                step = [
                    (1 - wy) * ((1 - wx) * c[ya][xa] + wx * c[ya][xb]) + wy * ((1 - wx) * c[yb][xa] + wx * c[yb][xb])
                    for c in field
                ]
                y, x = min(max(y + step[0], 0.0), height - 1.0), min(max(x + step[1], 0.0), width - 1.0)
            result[:, y0, x0] = torch.tensor([y, x])
    return result


def assert_rounded(found: Tensor, exact: Tensor, tolerance: float = 0.01) -> None:
    """`found` is `exact` rounded; within `tolerance` of a half either neighbour will do."""
    assert found.dtype == torch.int64
    assert (found - exact).abs().max() <= 0.5 + tolerance


def centre_field(height: int, width: int, seed: int) -> Tensor:
    """Cells are drawn towards one of two centres by a share of the way, with a little noise."""
    random = random_of(seed)
    centres = torch.rand(2, 2, generator=random) * torch.tensor([height, width])
    side = (torch.arange(width) >= width / 2).long().expand(height, width)
    share = 0.3 + 0.7 * float(torch.rand((), generator=random))
    return share * (centres[side].permute(2, 0, 1) - grid(height, width)) + 0.02 * torch.randn(
        2, height, width, generator=random
    )


@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 20), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_few_steps_in_any_field(height: int, width: int, iterations: int, seed: int) -> None:
    noise = torch.randn(2, height, width, generator=random_of(seed)) * 0.2
    assert_rounded(track_centroids(noise, iterations=iterations), slow_centroids(noise, iterations))


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_all_steps_towards_centres(height: int, width: int, seed: int) -> None:
    field = centre_field(height, width, seed)
    assert_rounded(track_centroids(field), slow_centroids(field, 300))


@pytest.mark.parametrize("angle", [90.0, 180.0, 25.0])
@pytest.mark.parametrize("iterations", [17, 64, 130, 300])
def test_a_turning_field_never_rests(angle: float, iterations: int) -> None:
    """Cells circle the middle for ever, those that leave the map are held at its border."""
    offset = grid(7, 9) - torch.tensor([3.0, 4.0]).view(2, 1, 1)
    turn = torch.deg2rad(torch.tensor(angle))
    turned = torch.stack(
        [turn.cos() * offset[0] - turn.sin() * offset[1], turn.sin() * offset[0] + turn.cos() * offset[1]]
    )
    field = turned - offset
    assert_rounded(track_centroids(field, iterations=iterations), slow_centroids(field, iterations))


def test_the_border_holds_what_would_leave() -> None:
    field = torch.stack([torch.full((5, 6), -3.0), torch.full((5, 6), 40.0)])
    centroids = track_centroids(field)
    assert centroids[0].eq(0).all() and centroids[1].eq(5).all()
    assert track_centroids(torch.full((2, 1, 1), 7.0)).tolist() == [[[0]], [[0]]]


def pieces(member: Callable[[Cell], bool], height: int, width: int) -> list[list[Cell]]:
    """4-connected pieces by flood fill, in the order of their first cell."""
    seen: set[Cell] = set()
    found = []
    for start in ((y, x) for y in range(height) for x in range(width)):
        if start in seen or not member(start):
            continue
        piece, waiting = [], [start]
        seen.add(start)
        while waiting:
            y, x = waiting.pop()
            piece.append((y, x))
            for cell in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= cell[0] < height and 0 <= cell[1] < width and cell not in seen and member(cell):
                    seen.add(cell)
                    waiting.append(cell)
        found.append(piece)
    return found


def same_partition(first: Tensor, second: Tensor) -> bool:
    pairs = torch.stack([first.flatten(), second.flatten()]).unique(dim=1)
    return pairs.shape[1] == len(first.unique()) == len(second.unique())


@given(st.integers(1, 8), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_clusters_equal_a_flood_fill(height: int, width: int, seed: int) -> None:
    field = torch.randn(2, height, width, generator=random_of(seed)) * 2
    centroids = torch.stack(
        [torch.randint(0, size, (height, width), generator=random_of(seed + 1)) for size in (height, width)]
    )
    weak = pieces(lambda cell: float(field[(slice(None), *cell)].norm()) < 2.5, height, width)
    region = {cell: number for number, piece in enumerate(weak, start=1) for cell in piece}
    expected = torch.tensor(
        [
            [region.get((int(centroids[0, y, x]), int(centroids[1, y, x])), 0) for x in range(width)]
            for y in range(height)
        ]
    )
    clusters = cluster_cells(field, centroids)
    assert same_partition(clusters, expected)
    assert clusters.unique().tolist() == list(range(len(expected.unique())))


@given(st.integers(0, 4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 3), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_decoding_equals_a_loop_over_pixels(count: int, height: int, width: int, cut: int, seed: int) -> None:
    scores = torch.rand(count, height, width, dtype=torch.float64, generator=random_of(seed)) ** 3
    size = (4 * height - cut, 4 * width - cut)

    def value(channel: Tensor, y: int, x: int) -> float:
        """Bilinear between cell centres, which lie at pixels 1.5, 5.5, ...; cells at the border reach to its end."""
        weights = []
        for place, cells in ((y, height), (x, width)):
            position = min(max((place - 1.5) / 4, 0.0), cells - 1.0)
            low = min(int(position), cells - 1)
            weights.append([(low, 1 - (position - low)), (min(low + 1, cells - 1), position - low)])
        return sum(float(channel[i, j]) * a * b for i, a in weights[0] for j, b in weights[1])

    full = [[[value(c, y, x) for x in range(size[1])] for y in range(size[0])] for c in scores]
    largest = max((v for c in full for row in c for v in row), default=1.0)
    channels, strengths = decode(scores, size)
    for y in range(size[0]):
        for x in range(size[1]):
            best, winner = max([(0.25, 0), *((c[y][x] / largest, -n) for n, c in enumerate(full, start=1))])
            assert int(channels[y, x]) == -winner - 1
            assert float(strengths[y, x]) == pytest.approx(best if winner else 0.0, abs=1e-6)


@given(st.integers(1, 9), st.integers(1, 10), st.integers(1, 4), st.sampled_from([0.0, 0.03, 0.2]), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_detections_equal_a_loop(height: int, width: int, count: int, smallest: float, seed: int) -> None:
    channels = torch.randint(-1, count, (height, width), generator=random_of(seed))
    strengths = torch.rand(height, width, generator=random_of(seed + 1))
    strengths[strengths < 0.3] = 1e-6
    classes = torch.arange(count) + 5
    expected = []
    for channel in range(count):
        for piece in pieces(lambda cell, c=channel: int(channels[cell]) == c, height, width):
            score = max(float(strengths[cell]) for cell in piece)
            if len(piece) >= smallest * (height * width) and score >= 1e-5:
                expected.append((set(piece), channel + 5, score))
    found = detections(channels, strengths, classes, min_area_fraction=smallest)
    assert found.size == (height, width) and found.classes.tolist() == [c for _, c, _ in expected]
    assert found.scores.tolist() == [score for _, _, score in expected]
    assert [{tuple(c) for c in mask.nonzero().tolist()} for mask in found.masks] == [cells for cells, _, _ in expected]


@pytest.mark.parametrize("axis", [0, 1])
@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_a_mirrored_frame_has_the_mirrored_clusters(axis: int, seed: int) -> None:
    field = centre_field(9, 12, seed)
    mirrored = field.flip(axis + 1)
    mirrored[axis] *= -1
    clusters = cluster_cells(mirrored, track_centroids(mirrored)).flip(axis)
    assert same_partition(clusters, cluster_cells(field, track_centroids(field)))


@pytest.mark.parametrize("axis", [-1, -2])
def test_a_mirrored_frame_has_the_mirrored_instances(axis: int) -> None:
    rows, columns = grid(12, 16)
    boundary = torch.where((columns - rows - 2).abs() < 1, 0.95, 0.05)
    cam = torch.stack([(columns - rows - 3).clamp_min(0) / 12, (rows - columns + 1).clamp_min(0) / 20])
    field = torch.where(columns < 8, 0.1, 5.0) * torch.ones(2, 1, 1)
    mirrored_field = field.flip(axis)
    mirrored_field[axis] *= -1
    scores = torch.rand(3, 12, 16, dtype=torch.float64, generator=random_of(3))
    for plain, turned in zip(decode(scores, (48, 64)), decode(scores.flip(axis), (48, 64)), strict=True):
        torch.testing.assert_close(turned.flip(axis), plain)
    classes = torch.tensor([3, 8])
    found = group_instances(boundary, field, cam, classes, (48, 64))
    mirrored = group_instances(boundary.flip(axis), mirrored_field, cam.flip(axis), classes, (48, 64))
    assert len(found) == len(mirrored) >= 2
    assert sorted(found.classes.tolist()) == sorted(mirrored.classes.tolist())
    for label in (3, 8):
        plain, turned = (part.masks[part.classes == label].sum(0) for part in (found, mirrored))
        assert (turned.flip(axis) != plain).sum() <= 2
