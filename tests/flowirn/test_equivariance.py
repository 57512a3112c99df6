"""Mirrored and shifted examples have the losses of the original.

Sources of pairs lie in a window: no source in the last rows, nor in the first and last columns, closer to the border
than the radius reaches. A pair along a row is seen from its left end, and after mirroring from its other end; so is
any pair after a vertical mirroring. The two then fall on different sides of the window's border. Where nothing valid
lies outside the window of either, that is where the labels (and the flow) closer than `reach` to the border are
ignored, both examples have the same pairs and the losses must be equal to rounding.

Two options of Eq. 3 tell one end of a pair from the other, so they are mirrored pair by pair only, as tested here:
"path_max" compares the path with its source, and forward differences belong to the left or upper of two cells.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.cam.amplify import amplify_cams
from wsvis_core.flow.warp import flip_flow_horizontal
from wsvis_core.flowirn.flow_gradient import flow_at_cells, flow_gradient, gradient_differences
from wsvis_core.flowirn.losses import downsample_labels, flow_boundary_loss, irn_losses, pair_affinity
from wsvis_core.flowirn.paths import ordered_directions, path_maximum, reach
from wsvis_core.flowirn.random_walk import random_walk

RADIUS = 3
FPRIMES = ("jacobian", "magnitude", "partials")


@dataclass(frozen=True)
class Example:
    """boundary (B,h,w) · displacement (B,2,h,w), (y, x) · labels (B,h,w) · flow (B,2,h,w), (dx, dy) · valid (B,h,w)."""

    boundary: Tensor
    displacement: Tensor
    labels: Tensor
    flow: Tensor
    valid: Tensor


def random_example(height: int, width: int, seed: int, *, border: int = reach(RADIUS)) -> Example:
    """An example whose cells within `border` of an edge are ignored."""
    g = torch.Generator().manual_seed(seed)
    size = (2, height, width)
    inside = torch.zeros(size, dtype=torch.bool)
    inside[:, border : height - border, border : width - border] = True
    labels = torch.tensor([0, 0, 1, 2, 255])[torch.randint(0, 5, size, generator=g)]
    return Example(
        torch.rand(size, dtype=torch.float64, generator=g),
        torch.randn(2, 2, height, width, dtype=torch.float64, generator=g),
        torch.where(inside, labels, 255),
        torch.randn(2, 2, height, width, dtype=torch.float64, generator=g) * 3,
        inside & (torch.rand(size, generator=g) < 0.95),
    )


def mirrored(example: Example) -> Example:
    """Left and right swapped: the x components change sign."""
    return Example(
        example.boundary.flip(-1),
        example.displacement.flip(-1) * torch.tensor([1.0, -1.0]).view(2, 1, 1),
        example.labels.flip(-1),
        flip_flow_horizontal(example.flow),
        example.valid.flip(-1),
    )


def upside_down(example: Example) -> Example:
    """Top and bottom swapped: the y components change sign."""
    return Example(
        example.boundary.flip(-2),
        example.displacement.flip(-2) * torch.tensor([-1.0, 1.0]).view(2, 1, 1),
        example.labels.flip(-2),
        example.flow.flip(-2) * torch.tensor([1.0, -1.0]).view(2, 1, 1),
        example.valid.flip(-2),
    )


def shifted(example: Example, rows: int, columns: int) -> Example:
    """Everything moved by whole cells; what leaves on one side, padding, comes in on the other."""
    parts = {name: getattr(example, name).roll((rows, columns), dims=(-2, -1)) for name in vars(example)}
    return replace(example, **parts)


def losses(example: Example, **options: Any) -> dict[str, Tensor]:
    alpha = pair_affinity(example.boundary, RADIUS)
    result = irn_losses(alpha, example.displacement, example.labels, num_classes=2, radius=RADIUS)
    for pairs in ("all", "fg_only"):
        result[f"flow, {pairs}"] = flow_boundary_loss(
            alpha, example.flow, example.valid, example.labels, radius=RADIUS, num_classes=2, pairs=pairs, **options
        )
    return result


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    for name, value in first.items():
        assert second[name].item() == pytest.approx(value.item(), rel=1e-9), name


@pytest.mark.parametrize("fprime", FPRIMES)
@pytest.mark.parametrize("difference", ["central", "sobel"])
@pytest.mark.parametrize("flip", [mirrored, upside_down])
def test_a_mirrored_example_has_the_same_losses(
    flip: Callable[[Example], Example], difference: str, fprime: str
) -> None:
    example = random_example(11, 14, 3)
    plain = losses(example, difference=difference, fprime=fprime)
    assert all(value > 0 for value in plain.values())
    assert_same(plain, losses(flip(example), difference=difference, fprime=fprime))


@given(st.integers(1, 13), st.integers(1, 13), st.integers(0, 999), st.sampled_from([mirrored, upside_down]))
@settings(max_examples=25, deadline=None)
def test_a_mirrored_example_has_the_same_losses_at_any_size(height: int, width: int, seed: int, flip: Any) -> None:
    example = random_example(height, width, seed)
    assert_same(losses(example, difference="central"), losses(flip(example), difference="central"))


def test_without_the_margin_only_pairs_along_a_row_differ() -> None:
    """The half plane's price: all oblique and vertical pairs of a mirrored map are there at the mirrored place."""
    example = random_example(9, 14, 1, border=0)
    flipped = mirrored(example)
    alpha, alpha_mirrored = (path_maximum(e.boundary, 4) for e in (example, flipped))
    directions = ordered_directions(4)
    for pair_cost in ("endpoint", "path_max"):
        g, g_mirrored = (
            gradient_differences(*flow_gradient(e.flow, difference="central"), radius=4, pair_cost=pair_cost)[0]
            for e in (example, flipped)
        )
        for position, (dy, dx) in enumerate(directions):
            if dy > 0:
                other = directions.index((dy, -dx))
                assert torch.equal(alpha_mirrored[:, other].flip(-1), alpha[:, position])
                torch.testing.assert_close(g_mirrored[:, other].flip(-1), g[:, position])
    plain, turned = (losses(e, difference="central") for e in (example, flipped))
    for name, value in plain.items():
        assert value.item() != turned[name].item() == pytest.approx(value.item(), rel=0.2), name


@pytest.mark.parametrize("fprime", FPRIMES)
def test_forward_differences_belong_to_the_left_cell_of_two(fprime: Any) -> None:
    """So F' of a mirrored frame lies one cell further: at the mirror image of the cell to its left."""
    flow = random_example(6, 9, 2).flow
    gradient, turned = (flow_gradient(f, fprime=fprime)[0] for f in (flow, flip_flow_horizontal(flow)))
    count = gradient.shape[1] // 2
    torch.testing.assert_close(turned[:, :count].flip(-1)[..., 1:].abs(), gradient[:, :count, :, :-1].abs())
    torch.testing.assert_close(turned[:, count:].flip(-1).abs(), gradient[:, count:].abs())


@pytest.mark.parametrize("difference", ["forward", "central", "sobel"])
@pytest.mark.parametrize("step", [(1, 0), (0, 1), (-1, 0), (0, -1), (-1, 1)])
def test_an_example_moved_by_a_cell_inside_its_padding_has_the_same_losses(
    step: tuple[int, int], difference: str
) -> None:
    example = random_example(12, 15, 4, border=reach(RADIUS) + 1)
    for fprime, pair_cost in itertools.product(FPRIMES, ("endpoint", "path_max")):
        options = {"difference": difference, "fprime": fprime, "pair_cost": pair_cost}
        assert_same(losses(example, **options), losses(shifted(example, *step), **options))


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_pixels_become_cells_mirrored_and_shifted_alike(rows: int, columns: int, seed: int) -> None:
    """Sizes that are multiples of 4: another frame's cells would be cut on another side."""
    g = torch.Generator().manual_seed(seed)
    flow = torch.randn(1, 2, 4 * rows, 4 * columns, dtype=torch.float64, generator=g)
    valid = torch.rand(1, 4 * rows, 4 * columns, generator=g) < 0.95
    cells, usable = flow_at_cells(flow, valid)
    turned, turned_usable = flow_at_cells(flip_flow_horizontal(flow), valid.flip(-1))
    torch.testing.assert_close(turned, flip_flow_horizontal(cells))
    assert torch.equal(turned_usable, usable.flip(-1))
    moved, moved_usable = flow_at_cells(flow.roll((4, -4), dims=(-2, -1)), valid.roll((4, -4), dims=(-2, -1)))
    torch.testing.assert_close(moved, cells.roll((1, -1), dims=(-2, -1)))
    assert torch.equal(moved_usable, usable.roll((1, -1), dims=(-2, -1)))
    labels = torch.randint(0, 3, (1, 4 * rows, 4 * columns), generator=g)
    shifted_labels = downsample_labels(labels.roll((4, -4), dims=(-2, -1)))
    assert torch.equal(shifted_labels, downsample_labels(labels).roll((1, -1), dims=(-2, -1)))


@pytest.mark.parametrize("axis", [-1, -2])
def test_the_walk_of_a_mirrored_frame_is_the_mirrored_walk(axis: int) -> None:
    """The walk has both directions of every pair, so it needs no margin."""
    g = torch.Generator().manual_seed(0)
    seeds, boundary = torch.rand(2, 8, 11, dtype=torch.float64, generator=g), torch.rand(8, 11, generator=g).double()
    turned = random_walk(seeds.flip(axis), boundary.flip(axis), exp_times=4)
    torch.testing.assert_close(turned.flip(axis), random_walk(seeds, boundary, exp_times=4))


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("seeds", ["saturate", "raw"])
def test_amplification_of_a_mirrored_frame_is_mirrored(seeds: Any, axis: int) -> None:
    g = torch.Generator().manual_seed(0)
    cam, high_res, flow = (torch.rand(2, 6 * n, 8 * n, generator=g) for n in (1, 4, 2))
    cam = cam.repeat_interleave(2, -1).repeat_interleave(2, -2)  # half as large, all centres would be ties
    sign = torch.tensor([-1.0, 1.0] if axis == -1 else [1.0, -1.0]).view(2, 1, 1)
    plain = amplify_cams(cam, high_res, flow, seeds=seeds)
    turned = amplify_cams(cam.flip(axis), high_res.flip(axis), flow.flip(axis) * sign, seeds=seeds)
    assert all(torch.equal(a.flip(axis), b) for a, b in zip(turned, plain, strict=True))
