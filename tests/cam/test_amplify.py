"""f-CAM: Eq. 2, its invariances, its options and its edges."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.cam.amplify import amplify_cams, linear_percentile, motion_mask
from wsvis_core.cam.infer import FrameCams
from wsvis_core.config import FCamSettings
from wsvis_core.errors import WsvisError
from wsvis_core.flow.camera import camera_flow
from wsvis_core.flow.load import FlowReader
from wsvis_core.flowirn.label_map_shards import f_cams
from wsvis_core.mask_ops import resize_nearest
from wsvis_core.storage.shards import write_shard

ORDERS, SEEDS = ("normalise_then_amplify", "amplify_then_normalise"), ("saturate", "raw", "none")


def random_inputs(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """cam (3, 5, 8), high_res (3, 20, 32), each class up to 1, and flow (2, 10, 16)."""
    generator = torch.Generator().manual_seed(seed)
    cam, high_res = (torch.rand(3, *size, generator=generator) for size in ((5, 8), (20, 32)))
    return (
        cam / cam.amax((1, 2), keepdim=True),
        high_res / high_res.amax((1, 2), keepdim=True),
        torch.randn(2, 10, 16, generator=generator),
    )


def slow_threshold(speeds: list[float], percentile: float) -> float:
    """The percentile of a list: linear between the two ranks beside `percentile / 100 * (n - 1)`."""
    ranked = sorted(speeds)
    place = Fraction(percentile) * (len(ranked) - 1) / 100
    below = math.floor(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + float(place - below) * (ranked[above] - ranked[below])


def nearest(index: int, old: int, new: int) -> int:
    """The pixel of `old` in which the centre of pixel `index` of `new` lies."""
    return math.floor((index + Fraction(1, 2)) * old / new)


def slow_f_cam(cam: Tensor, flow: Tensor, rule: str, a: float, percentile: float, limit: float = 0) -> Tensor:
    """Eq. 2 pixel by pixel. rule: "raw", "saturate" or "normalise" (the product divided by its maximum)."""
    rows, columns = flow.shape[-2:]
    speed = [
        [math.sqrt(float(flow[0, y, x]) ** 2 + float(flow[1, y, x]) ** 2) for x in range(columns)] for y in range(rows)
    ]
    threshold = slow_threshold([value for row in speed for value in row], percentile)
    result = cam.clone()
    for y, x in itertools.product(range(cam.shape[-2]), range(cam.shape[-1])):
        moves = speed[nearest(y, rows, cam.shape[-2])][nearest(x, columns, cam.shape[-1])]
        if moves > threshold and moves > limit:
            strongest = max(float(cam[c, y, x]) for c in range(len(cam)))
            factor = min(a, 1 / strongest) if rule == "saturate" and strongest > 0 else a
            for c in range(len(cam)):
                result[c, y, x] = float(cam[c, y, x]) * factor
    if rule == "normalise":
        for c in range(len(cam)):
            result[c] /= float(result[c].max()) + 1e-5
    return result


sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(
    st.integers(1, 3), sizes, sizes, sizes, st.sampled_from([1.0, 2.0, 5.0]), st.sampled_from([0, 7, 50, 80, 100]),
    st.sampled_from([0.0, 2.5]), st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_eq_2_equals_a_slow_loop_with_all_options(
    classes: int, at_cells: Any, at_pixels: Any, at_flow: Any, a: float, percentile: float, limit: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    cam, high_res = (torch.rand(classes, *size, generator=generator).double() for size in (at_cells, at_pixels))
    cam[:, 0, 0] = 0
    # Whole numbers, so that equal speeds occur and are equal in both computations.
    flow = torch.randint(-4, 5, (2, *at_flow), generator=generator).float()
    options: dict[str, Any] = {"amplification": a, "percentile": percentile, "min_motion_px": limit}
    for order, labels, seeds in itertools.product(ORDERS, (True, False), SEEDS):
        found = amplify_cams(cam, high_res, flow, order=order, labels=labels, seeds=seeds, **options)
        rule = "raw" if order == ORDERS[0] else "normalise"
        wanted_seeds = {
            "saturate": slow_f_cam(cam, flow, "saturate", a, percentile, limit),
            "raw": slow_f_cam(cam, flow, rule, a, percentile, limit),
            "none": cam,
        }[seeds]
        wanted_labels = slow_f_cam(high_res, flow, rule, a, percentile, limit) if labels else high_res
        torch.testing.assert_close(found[0], wanted_seeds)
        torch.testing.assert_close(found[1], wanted_labels)


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


@given(sizes, st.floats(-20, 20, width=32), st.floats(-20, 20, width=32), st.floats(0, 100))
@settings(max_examples=30, deadline=None)
def test_a_frame_of_one_velocity_moves_nowhere(size: Any, u: float, v: float, percentile: float) -> None:
    flow = torch.tensor([u, v]).view(2, 1, 1).expand(2, *size)
    assert not motion_mask(flow, percentile=percentile).any()


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


@pytest.mark.parametrize("percentile", range(0, 101, 7))
def test_a_percentile_that_falls_on_a_value_is_that_value(percentile: int) -> None:
    for hundreds in (1, 3, 7):
        values = torch.arange(100 * hundreds + 1, dtype=torch.float64)
        assert linear_percentile(values, percentile).item() == percentile * hundreds


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


@given(st.integers(1, 70), st.integers(1, 70))
@example(2, 41)
@settings(max_examples=30, deadline=None)
def test_every_centre_takes_the_pixel_it_lies_in(old: int, new: int) -> None:
    for line in range(old):
        mask = torch.zeros(old, 1, dtype=torch.bool)
        mask[line] = True
        assert resize_nearest(mask, (new, 1))[:, 0].tolist() == [nearest(i, old, new) == line for i in range(new)]


def test_masks_are_resized_by_nearest_centre() -> None:
    mask = torch.tensor([[True, False, False, False], [False, False, True, True]])
    assert resize_nearest(mask, (4, 8))[0].tolist() == [True, True] + [False] * 6
    assert resize_nearest(mask, (2, 2)).tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amplification": 0}, "f-CAM amplification A = 0 must be greater than 0"),
        ({"percentile": 101}, "f-CAM percentile 101 is not in 0..100"),
        ({"order": "never"}, "f-CAM order 'never' is not one of normalise_then_amplify, amplify_then_normalise"),
        ({"camera": "stop"}, "f-CAM camera 'stop' is not one of keep, subtract, similarity, homography, auto"),
        ({"seeds": "all"}, "f-CAM seeds 'all' is not one of saturate, raw, none"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(WsvisError, match=f"^{message}$"):
        amplify_cams(*random_inputs()[:2], None, **options)


# ---- stored flow and CAMs -------------------------------------------------------------------------------------------


class OneFrame:
    """A CAM reader of one frame."""

    def __init__(self, cam: Tensor, high_res: Tensor) -> None:
        self.cams = FrameCams(np.arange(len(cam)), cam.numpy(), high_res.numpy())

    def frame(self, video_id: int, index: int) -> FrameCams:
        return self.cams


def stored_flow(path: Any, video: Any, flow: Tensor, *, step: int = 1, gap: int = 1) -> FlowReader:
    def columns(_: Any) -> dict[str, np.ndarray]:
        return {
            "next": flow[None].numpy().astype(np.float16),
            "next_step": np.array([step], np.int8),
            "next_gap": np.array([gap], np.int32),
        }

    write_shard(path, kind="flow", videos=[video], make_columns=columns, settings={})
    return FlowReader([path])


@pytest.mark.parametrize("percentile", [50.0, 80.0])
@pytest.mark.parametrize("stored", [(12, 20), (11, 23), (60, 100)])
def test_the_percentile_is_taken_where_the_flow_was_stored(
    dataset: Any, tmp_path: Any, stored: tuple[int, int], percentile: float
) -> None:
    """Not after bringing flow to the frame, which smooths peaks away; u and v count in pixels of the frame."""
    video = dataset.videos[0]
    cam, high_res, _ = random_inputs()
    high_res = torch.nn.functional.interpolate(high_res[None], size=(video.height, video.width))[0]
    flow = torch.randint(-64, 65, (2, *stored), generator=torch.Generator().manual_seed(1)) / 16.0
    reader = stored_flow(tmp_path / "flow.h5", video, flow)
    found = f_cams(OneFrame(cam, high_res), reader, video, 0, FCamSettings(percentile=percentile))
    in_frame_pixels = flow.double() * torch.tensor([video.width / stored[1], video.height / stored[0]]).view(2, 1, 1)
    torch.testing.assert_close(found[0], slow_f_cam(cam, in_frame_pixels, "saturate", 2, percentile))
    torch.testing.assert_close(found[1], slow_f_cam(high_res, in_frame_pixels, "raw", 2, percentile))


@pytest.mark.parametrize("gap", [1, 4])
def test_slow_motion_is_judged_in_native_pixels_per_native_frame(dataset: Any, tmp_path: Any, gap: int) -> None:
    video = dataset.videos[0]
    flow = torch.zeros(2, video.height // 4, video.width // 4)
    flow[0, 0, 0] = 3.0  # 12 pixels of the frame in `gap` frames
    reader = stored_flow(tmp_path / "flow.h5", video, flow, gap=gap)
    cam = torch.full((1, video.height // 4, video.width // 4), 0.25)
    high_res = torch.full((1, video.height, video.width), 0.25)
    for limit, moves in ((12 / gap - 0.01, True), (12 / gap, False)):
        _, labels = f_cams(OneFrame(cam, high_res), reader, video, 0, FCamSettings(min_motion_px=limit))
        assert int((labels == 0.5).sum()) == (16 if moves else 0)


def test_no_flow_or_no_f_cam_leaves_the_cams(dataset: Any, tmp_path: Any) -> None:
    video = dataset.videos[0]
    cam, high_res, flow = random_inputs()
    none = stored_flow(tmp_path / "none.h5", video, flow * 0, step=0, gap=0)
    some = stored_flow(tmp_path / "some.h5", video, flow)
    last = stored_flow(tmp_path / "last.h5", video, flow, step=-1)
    cams = OneFrame(cam, high_res)
    for reader, options in ((none, {}), (some, {"enabled": False}), (some, {"labels": False, "seeds": "none"})):
        result = f_cams(cams, reader, video, 0, FCamSettings(**options))
        assert torch.equal(result[0], cam) and torch.equal(result[1], high_res)
    forward, backward = (f_cams(cams, reader, video, 0, FCamSettings()) for reader in (some, last))
    assert torch.equal(forward[1], backward[1]) and not torch.equal(forward[1], high_res)
    empty = f_cams(OneFrame(cam[:0], high_res[:0]), some, video, 0, FCamSettings())
    assert empty[0].shape == (0, 5, 8) and empty[1].shape == (0, 20, 32)


def test_subtracting_the_camera_finds_the_object_it_follows() -> None:
    """The camera follows an object: the object rests in the picture, the background rushes past it."""
    flow = torch.tensor([-4.0, 1.0]).view(2, 1, 1).repeat(1, 10, 10)
    flow[:, 3:6, 2:6] = 0.0
    cam, high_res = torch.full((1, 10, 10), 0.4), torch.full((1, 10, 10), 0.4)
    amplified = {
        camera: amplify_cams(cam, high_res, flow, percentile=50, camera=camera)[1][0] > 0.5
        for camera in ("keep", "subtract")
    }
    inside = flow[0] == 0
    assert torch.equal(amplified["subtract"], inside)
    assert not amplified["keep"][inside].any()


@given(st.integers(0, 99), st.floats(-9, 9), st.floats(-9, 9))
@settings(max_examples=20, deadline=None)
def test_with_the_camera_subtracted_its_motion_does_not_matter(seed: int, u: float, v: float) -> None:
    cam, high_res, flow = random_inputs(seed)
    moved = flow.double() + torch.tensor([u, v]).view(2, 1, 1).double()
    still, panned = (amplify_cams(cam, high_res, f, camera="subtract") for f in (flow.double(), moved))
    assert all(torch.equal(a, b) for a, b in zip(still, panned, strict=True))


def zoomed_frame(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Flow of a camera that zooms in by a tenth, a block of 6 x 9 pixels moving by 1.5 px beside it; and the block."""
    camera = torch.tensor([[1.1, 0.0, -0.05 * (columns - 1)], [0.0, 1.1, -0.05 * (rows - 1)], [0.0, 0.0, 1.0]])
    flow = camera_flow(camera, (rows, columns)).float()
    block = torch.zeros(rows, columns, dtype=torch.bool)
    block[14:20, 20:29] = True
    flow[0, block] += 1.5
    return flow, block


@pytest.mark.parametrize("camera", ["similarity", "homography", "auto"])
def test_a_fitted_camera_finds_the_object_while_the_camera_zooms(camera: Any) -> None:
    """Without its median the flow is fastest in the corners of the frame."""
    flow, block = zoomed_frame(40, 60)
    cam = high_res = torch.full((1, 40, 60), 0.4)
    percentile = 100 * (int((~block).sum()) - 0.5) / (block.numel() - 1)  # as many move as the block has pixels
    found = {
        name: amplify_cams(cam, high_res, flow, percentile=percentile, camera=name)[1][0] > 0.5
        for name in (camera, "keep", "subtract")
    }
    assert torch.equal(found[camera], block)
    assert not (found["keep"] & block).any() and not (found["subtract"] & block).any()


@pytest.mark.parametrize("camera", ["similarity", "homography", "auto"])
def test_a_camera_is_fitted_in_pixels_of_the_frame(dataset: Any, tmp_path: Any, camera: Any) -> None:
    """Flow is stored on a coarser grid, in its own pixels; a turn there is none if u and v lose their common unit."""
    video = dataset.videos[0]
    rows, columns = video.height, video.width
    turn = torch.tensor([[1.0, -0.05, 2.0], [0.05, 1.0, -1.0], [0.0, 0.0, 1.0]])
    size = (rows // 2, columns)  # every pixel of a row, every second row
    flow = camera_flow(turn, size, (rows, columns))
    block = (slice(rows // 8, rows // 4), slice(columns // 4, columns // 2))
    flow[1, block[0], block[1]] += 3.0
    stored = flow * torch.tensor([1.0, 0.5]).view(2, 1, 1)
    reader = stored_flow(tmp_path / "flow.h5", video, stored.float())
    cam = torch.full((1, rows // 4, columns // 4), 0.25)
    high_res = torch.full((1, rows, columns), 0.25)
    settings = FCamSettings(camera=camera, min_motion_px=1.0)
    _, labels = f_cams(OneFrame(cam, high_res), reader, video, 0, settings)
    wanted = torch.zeros(size, dtype=torch.bool)
    wanted[block] = True
    assert torch.equal(labels[0] == 0.5, resize_nearest(wanted, (rows, columns)))
