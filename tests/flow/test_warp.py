from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.flow.warp import backward_warp, flip_flow_horizontal, resize_flow, warp_masks

QUICK = settings(max_examples=30, deadline=None)
SEEDS = st.integers(0, 1000)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def constant_flow(u: float, v: float, height: int, width: int) -> torch.Tensor:
    return torch.tensor([float(u), float(v)]).view(2, 1, 1).expand(2, height, width).clone()


def slow_warp(values: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Bilinear sampling at p + flow(p), zero outside, pixel by pixel."""
    channels, height, width = values.shape
    warped = torch.zeros_like(values)
    for y in range(height):
        for x in range(width):
            px, py = x + float(flow[0, y, x]), y + float(flow[1, y, x])
            for qy in (math.floor(py), math.floor(py) + 1):
                for qx in (math.floor(px), math.floor(px) + 1):
                    if 0 <= qx < width and 0 <= qy < height:
                        weight = (1 - abs(px - qx)) * (1 - abs(py - qy))
                        warped[:, y, x] += weight * values[:, qy, qx]
    return warped


@QUICK
@given(SEEDS, st.integers(2, 7), st.integers(2, 7))
def test_warp_against_a_loop(seed, height, width):
    values, flow = random(seed, 2, height, width), random(seed + 1, 2, height, width) * 2
    assert torch.allclose(backward_warp(values, flow), slow_warp(values, flow), atol=1e-4)


@QUICK
@given(SEEDS, st.integers(2, 40), st.integers(2, 40))
def test_zero_flow_is_the_identity(seed, height, width):
    values = random(seed, 1, height, width)
    assert torch.allclose(backward_warp(values, torch.zeros(2, height, width)), values, atol=1e-4)


@pytest.mark.parametrize(("u", "v", "at"), [(1, 0, (2, 2)), (-1, 0, (2, 4)), (0, 1, (1, 3)), (0, -1, (3, 3))])
def test_direction_of_one_pixel(u, v, at):
    """A value of frame b at (2, 3) is seen on frame a where a's flow points to it: at (2 - v, 3 - u)."""
    values = torch.zeros(1, 5, 7)
    values[0, 2, 3] = 1
    warped = backward_warp(values, constant_flow(u, v, 5, 7))
    assert warped[0][at].item() == pytest.approx(1, abs=1e-5) and warped.sum().item() == pytest.approx(1, abs=1e-5)


def test_outside_of_the_frame_is_zero():
    ones = torch.ones(1, 4, 6)
    right = backward_warp(ones, constant_flow(2, 0, 4, 6))
    assert torch.allclose(right, torch.tensor([1.0, 1, 1, 1, 0, 0]).expand(1, 4, 6), atol=1e-5)
    assert torch.equal(backward_warp(ones, constant_flow(0, 100, 4, 6)), torch.zeros(1, 4, 6))
    half = backward_warp(ones, constant_flow(0.5, 0, 4, 6))
    assert half[0, :, -1].tolist() == pytest.approx([0.5] * 4)


def test_leading_dimensions_pair_up_and_one_flow_serves_many():
    values, flows = random(0, 2, 3, 4, 5, 6), random(1, 2, 3, 2, 5, 6)
    warped = backward_warp(values, flows)
    assert warped.shape == values.shape
    assert torch.allclose(warped[1, 2], backward_warp(values[1, 2], flows[1, 2]))
    shared = backward_warp(values[0], flows[0, 0])
    assert torch.allclose(shared[2], backward_warp(values[0, 2], flows[0, 0]))


def test_gradients():
    values = random(0, 1, 2, 4, 5).double().requires_grad_()
    # Away from pixel centres, where bilinear sampling has no derivative.
    flow = (random(1, 1, 2, 4, 5).double().round() + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(backward_warp, (values, flow))


def test_a_mask_of_t_comes_to_s_with_the_flow_from_s_to_t():
    """The object moves 5 px right from t to s, so F_{s→t} is (-5, 0)."""
    on_t = torch.zeros(1, 20, 40, dtype=torch.bool)
    on_t[0, 0:10, 0:10] = True
    on_s = warp_masks(on_t, constant_flow(-5, 0, 20, 40))
    expected = torch.zeros_like(on_t)
    expected[0, 0:10, 5:15] = True
    assert on_s.dtype == torch.bool and torch.equal(on_s, expected)


def test_masks_that_leave_the_frame_are_empty_and_none_stay_none():
    masks = torch.ones(2, 6, 8, dtype=torch.bool)
    assert not warp_masks(masks, constant_flow(20, 0, 6, 8)).any()
    assert warp_masks(masks[:0], constant_flow(1, 0, 6, 8)).shape == (0, 6, 8)


def test_masks_warped_a_few_at_a_time_are_masks_warped_together():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(7, 9, 11, generator=generator) < 0.5
    flow = 3 * torch.randn(2, 9, 11, generator=generator)
    together = backward_warp(masks[None].float(), flow[None])[0]
    for threshold in (0.5, 0.3):
        assert torch.equal(warp_masks(masks, flow, threshold=threshold, chunk=3), together >= threshold)


def test_masks_need_more_than_half():
    masks = torch.zeros(1, 1, 6, dtype=torch.bool)
    masks[0, 0, 3] = True
    moved = [warp_masks(masks, constant_flow(u, 0, 1, 6)).nonzero()[:, 2].tolist() for u in (0.4, 0.6)]
    assert moved == [[3], [2]]


@QUICK
@given(SEEDS, st.integers(1, 9), st.integers(1, 9))
def test_resizing_scales_the_vectors_of_constant_flow(seed, height, width):
    flow = constant_flow(3.0, -2.0, 6, 10)
    resized = resize_flow(flow, (height, width))
    assert resized.shape == (2, height, width)
    assert torch.allclose(resized, constant_flow(3 * width / 10, -2 * height / 6, height, width), atol=1e-5)


def test_resizing_keeps_the_place_of_motion():
    flow = torch.zeros(1, 2, 4, 8)
    flow[..., 4:] = 2.0
    large = resize_flow(flow, (8, 16))
    assert large.shape == (1, 2, 8, 16)
    assert torch.equal(large[..., :7], torch.zeros(1, 2, 8, 7)) and torch.equal(
        large[..., 9:], torch.full_like(large[..., 9:], 4.0)
    )
    assert resize_flow(flow, (4, 8)) is flow


def test_warping_and_resizing_commute_on_smooth_pictures():
    """A 4 px motion at full size is a 2 px motion at half size."""
    x = torch.linspace(0, 3, 64).sin().expand(1, 32, 64)
    flow = constant_flow(4, 0, 32, 64)
    warped = torch.nn.functional.interpolate(backward_warp(x, flow)[None], size=(16, 32), mode="bilinear")[0]
    small = torch.nn.functional.interpolate(x[None], size=(16, 32), mode="bilinear")[0]
    inside = (..., slice(0, 28))
    assert torch.allclose(backward_warp(small, resize_flow(flow, (16, 32)))[inside], warped[inside], atol=0.01)


@QUICK
@given(SEEDS)
def test_mirroring_commutes_with_warping_and_undoes_itself(seed):
    values, flow = random(seed, 3, 5, 8), random(seed + 1, 2, 5, 8)
    mirrored = backward_warp(values.flip(-1), flip_flow_horizontal(flow))
    assert torch.allclose(mirrored, backward_warp(values, flow).flip(-1), atol=1e-4)
    assert torch.equal(flip_flow_horizontal(flip_flow_horizontal(flow)), flow)
    assert torch.equal(flip_flow_horizontal(flow)[1], flow[1].flip(-1))
