"""f-CAM: Eq. 2, its invariances, its options and its edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.cam.amplify import amplify_cams, linear_percentile, motion_mask, resize_mask
from wsvis_core.errors import WsvisError


def random_inputs(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """cam (3, 5, 8), high_res (3, 20, 32), each class up to 1, and flow (2, 10, 16)."""
    generator = torch.Generator().manual_seed(seed)
    cam, high_res = (torch.rand(3, *size, generator=generator) for size in ((5, 8), (20, 32)))
    return (
        cam / cam.amax((1, 2), keepdim=True),
        high_res / high_res.amax((1, 2), keepdim=True),
        torch.randn(2, 10, 16, generator=generator),
    )


def test_moving_pixels_are_doubled_and_others_kept() -> None:
    high_res = torch.full((2, 2, 5), 0.25)
    flow = torch.zeros(2, 2, 5)
    flow[:, 0, 0] = torch.tensor([3.0, 4.0])
    flow[:, 1, 4] = torch.tensor([0.0, -6.0])
    cam, amplified = amplify_cams(high_res, high_res, flow)
    expected = torch.full((2, 2, 5), 0.25)
    expected[:, 0, 0] = expected[:, 1, 4] = 0.5
    assert torch.equal(amplified, expected) and torch.equal(cam, expected)


@pytest.mark.parametrize("seeds", ["saturate", "raw", "none"])
@pytest.mark.parametrize("flow", [None, torch.zeros(2, 10, 16), torch.full((2, 10, 16), 3.0)])
def test_without_relative_motion_nothing_changes(seeds: Any, flow: Tensor | None) -> None:
    cam, high_res, _ = random_inputs()
    result = amplify_cams(cam, high_res, flow, seeds=seeds)
    assert torch.equal(result[0], cam) and torch.equal(result[1], high_res)


@given(st.integers(0, 99), st.sampled_from([3.0, 0.01, 1000.0]))
@settings(max_examples=25, deadline=None)
def test_the_flows_unit_does_not_matter(seed: int, factor: float) -> None:
    cam, high_res, flow = random_inputs(seed)
    first, second = amplify_cams(cam, high_res, flow), amplify_cams(cam, high_res, flow * factor)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


@given(st.integers(0, 99), st.sampled_from(["saturate", "raw"]), st.floats(1, 6))
@settings(max_examples=25, deadline=None)
def test_class_order_is_kept_and_saturated_seeds_stay_below_one(seed: int, seeds: Any, a: float) -> None:
    cam, high_res, flow = random_inputs(seed)
    amplified, labels = amplify_cams(cam, high_res, flow, amplification=a, percentile=50, seeds=seeds)
    assert torch.equal(amplified.argsort(0), cam.argsort(0))
    assert torch.equal(labels.argsort(0), high_res.argsort(0))
    assert (amplified >= cam * 0.999999).all()
    if seeds == "saturate":
        assert amplified.max() <= 1 + 1e-6
        assert (amplified <= cam * a * 1.000001).all()


def test_flip_equivariance() -> None:
    cam, high_res, flow = random_inputs()
    cam = torch.nn.functional.interpolate(cam[None], size=(10, 16))[0]  # nearest ties are not symmetric
    mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    straight = amplify_cams(cam, high_res, flow)
    flipped = amplify_cams(cam.flip(-1), high_res.flip(-1), mirrored)
    assert torch.equal(straight[0].flip(-1), flipped[0]) and torch.equal(straight[1].flip(-1), flipped[1])


@pytest.mark.parametrize(("percentile", "share"), [(80.0, 0.2), (50.0, 0.5), (0.0, 0.99375), (100.0, 0.0)])
def test_the_share_of_amplified_pixels(percentile: float, share: float) -> None:
    flow = random_inputs()[2]
    assert motion_mask(flow, percentile=percentile).double().mean().item() == pytest.approx(share)


@given(st.integers(1, 40), st.floats(0, 100), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_percentile_equals_numpy(count: int, percentile: float, seed: int) -> None:
    values = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert linear_percentile(values, percentile).item() == pytest.approx(np.percentile(values.numpy(), percentile))


def test_slow_motion_can_be_left_alone() -> None:
    cam, high_res, flow = random_inputs()
    limit = 1.5
    fast = torch.linalg.vector_norm(flow, dim=0) > limit
    assert torch.equal(motion_mask(flow, percentile=0, min_motion_px=limit), fast)
    assert torch.equal(amplify_cams(cam, high_res, flow, min_motion_px=100)[1], high_res)


def test_labels_can_be_left_alone() -> None:
    cam, high_res, flow = random_inputs()
    seeds, labels = amplify_cams(cam, high_res, flow, labels=False, seeds="raw")
    assert torch.equal(labels, high_res) and not torch.equal(seeds, cam)


def test_normalising_afterwards_lowers_resting_objects() -> None:
    cam, high_res, flow = random_inputs()
    seeds, labels = amplify_cams(cam, high_res, flow, order="amplify_then_normalise", seeds="raw")
    plain = amplify_cams(cam, high_res, flow, seeds="raw")
    for result, reference in ((seeds, plain[0]), (labels, plain[1])):
        torch.testing.assert_close(result, reference / (reference.amax((1, 2), keepdim=True) + 1e-5))
        assert result.max() <= 1


def test_no_class_is_an_ordinary_case() -> None:
    cam, high_res, flow = random_inputs()
    options: list[dict[str, Any]] = [{"seeds": "saturate"}, {"seeds": "raw", "order": "amplify_then_normalise"}]
    for option in options:
        result = amplify_cams(cam[:0], high_res[:0], flow, **option)
        assert result[0].shape == (0, 5, 8) and result[1].shape == (0, 20, 32)


def test_masks_are_resized_by_nearest_centre() -> None:
    mask = torch.tensor([[True, False, False, False], [False, False, True, True]])
    assert resize_mask(mask, (4, 8))[0].tolist() == [True, True] + [False] * 6
    assert resize_mask(mask, (2, 2)).tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amplification": 0}, "f-CAM amplification A = 0 must be greater than 0"),
        ({"percentile": 101}, "f-CAM percentile 101 is not in 0..100"),
        ({"order": "never"}, "f-CAM order 'never' is not one of normalise_then_amplify, amplify_then_normalise"),
        ({"seeds": "all"}, "f-CAM seeds 'all' is not one of saturate, raw, none"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(WsvisError, match=f"^{message}$"):
        amplify_cams(*random_inputs()[:2], None, **options)
