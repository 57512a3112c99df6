"""The camera's motion: fitted, taken away, and left alone where there is none to fit."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import cv2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.config import SECTIONS
from wsvis_core.errors import WsvisError
from wsvis_core.flow.camera import CAMERAS, Camera, camera_flow, fit_camera, residual_flow
from wsvis_core.flow.warp import flip_flow_horizontal, resize_flow

SIZE = (36, 64)
SIMILARITY = torch.tensor([[1.04, -0.03, 2.0], [0.03, 1.04, -1.5], [0, 0, 1]], dtype=torch.float64)
HOMOGRAPHY = torch.tensor([[1.03, 0.01, -1.0], [-0.02, 0.98, 2.0], [4e-4, -3e-4, 1]], dtype=torch.float64)
MATRICES = {"similarity": SIMILARITY, "homography": HOMOGRAPHY}
MODELS = tuple(MATRICES)
BLOCK = (slice(8, 20), slice(30, 46))


def with_block(matrix: Tensor, move: tuple[float, float] = (5.0, -3.0)) -> Tensor:
    """The camera's flow, and a block of 12 x 16 pixels that moves by `move` beside it."""
    flow = camera_flow(matrix, SIZE)
    flow[:, BLOCK[0], BLOCK[1]] += torch.tensor(move).double().view(2, 1, 1)
    return flow


def slow_camera_flow(matrix: Tensor, size: tuple[int, int], frame: tuple[int, int]) -> Tensor:
    flow = torch.zeros(2, *size, dtype=torch.float64)
    for i in range(size[0]):
        for j in range(size[1]):
            x, y = (j + 0.5) * frame[1] / size[1] - 0.5, (i + 0.5) * frame[0] / size[0] - 0.5
            a, b, w = (float(row[0] * x + row[1] * y + row[2]) for row in matrix)
            flow[:, i, j] = torch.tensor([a / w - x, b / w - y])
    return flow


@pytest.mark.parametrize("frame", [SIZE, (72, 128), (40, 50)])
def test_the_flow_of_a_matrix_moves_every_point_by_it(frame: tuple[int, int]) -> None:
    found = camera_flow(HOMOGRAPHY, (9, 7), frame)
    torch.testing.assert_close(found, slow_camera_flow(HOMOGRAPHY, (9, 7), frame))


def test_a_camera_that_moves_one_pixel_to_the_left_moves_the_frame_one_to_the_right() -> None:
    right = torch.eye(3, dtype=torch.float64)
    right[0, 2] = 1.0
    flow = camera_flow(right, SIZE)
    assert (flow[0] == 1).all() and (flow[1] == 0).all()
    for model in MODELS:
        assert fit_camera(flow, model).matrix.tolist() == right.tolist()


@pytest.mark.parametrize("model", MODELS)
def test_a_camera_is_recovered_beside_a_block_that_moves_by_itself(model: Any) -> None:
    flow = with_block(MATRICES[model])
    fit = fit_camera(flow, model)
    torch.testing.assert_close(fit.matrix, MATRICES[model], atol=1e-6, rtol=0)
    assert fit.model == model and fit.inliers == pytest.approx(1 - 12 * 16 / (36 * 64))
    left = residual_flow(flow, model)
    wanted = torch.zeros_like(left)
    wanted[:, BLOCK[0], BLOCK[1]] = torch.tensor([5.0, -3.0]).double().view(2, 1, 1)
    torch.testing.assert_close(left, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("model", MODELS)
def test_noise_below_the_limit_of_an_inlier_does_little(model: Any) -> None:
    noise = torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(0)).double() * 0.02
    left = residual_flow(with_block(MATRICES[model]) + noise, model)
    left[:, BLOCK[0], BLOCK[1]] = 0
    assert float((left - noise).norm(dim=0).quantile(0.8)) < 0.03


def test_a_similarity_does_not_explain_a_perspective() -> None:
    flow = camera_flow(HOMOGRAPHY, SIZE)
    assert fit_camera(flow, "similarity").inliers < 0.5 and fit_camera(flow, "homography").inliers == 1


@pytest.mark.parametrize("model", MODELS)
def test_a_field_on_a_coarser_grid_has_the_same_camera(model: Any) -> None:
    """In pixels of the frame: its flow at half the height and a third of the width, each point where it lies."""
    frame = (72, 192)
    flow = camera_flow(MATRICES[model], SIZE, frame)
    fit = fit_camera(flow, model, frame)
    torch.testing.assert_close(fit.matrix, MATRICES[model], atol=1e-6, rtol=0)
    assert residual_flow(flow, model, frame).abs().max() < 1e-4
    # A large field is sampled; the matrix is the same.
    large = camera_flow(MATRICES[model], (180, 320), frame)
    torch.testing.assert_close(fit_camera(large, model, frame).matrix, MATRICES[model], atol=1e-6, rtol=0)


@given(
    model=st.sampled_from(MODELS),
    turn=st.floats(-0.2, 0.2),
    zoom=st.floats(0.8, 1.25),
    shift=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
    tilt=st.tuples(st.floats(-5e-4, 5e-4), st.floats(-5e-4, 5e-4)),
    size=st.tuples(st.integers(4, 40), st.integers(4, 40)),
)
@settings(max_examples=40, deadline=None)
def test_nothing_is_left_of_a_camera_alone(model: Any, turn: Any, zoom: Any, shift: Any, tilt: Any, size: Any) -> None:
    angle = torch.tensor(turn).double()
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[:2, :2] = zoom * torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    matrix[:2, 2] = torch.tensor(shift)
    if model == "homography":
        matrix[2, :2] = torch.tensor(tilt)
    flow = camera_flow(matrix, size)
    assert residual_flow(flow, model).abs().max() < 1e-3
    assert fit_camera(flow, model).inliers == 1


@pytest.mark.parametrize("camera", ["similarity", "homography", "auto"])
def test_a_mirrored_frame_leaves_the_mirrored_flow(camera: Camera) -> None:
    flow = with_block(SIMILARITY)
    mirrored = residual_flow(flip_flow_horizontal(flow), camera)
    torch.testing.assert_close(mirrored, flip_flow_horizontal(residual_flow(flow, camera)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("camera", ["similarity", "homography", "auto"])
def test_the_size_of_the_frame_does_not_matter(camera: Camera) -> None:
    flow = with_block(SIMILARITY)
    larger = residual_flow(flow * 5, camera, (SIZE[0] * 5, SIZE[1] * 5))
    torch.testing.assert_close(larger / 5, residual_flow(flow, camera), atol=1e-3, rtol=0)
    resized = residual_flow(resize_flow(camera_flow(SIMILARITY, SIZE), (72, 128)), camera)
    assert resized[:, 4:-4, 4:-4].abs().max() < 0.1


# ---- auto -----------------------------------------------------------------------------------------------------------


def test_auto_takes_the_homography_where_most_of_the_frame_agrees_and_the_median_elsewhere() -> None:
    flow = with_block(HOMOGRAPHY)
    assert torch.equal(residual_flow(flow, "auto"), residual_flow(flow, "homography"))
    torn = torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(0)) * 5
    torn[:, :, :20] = camera_flow(HOMOGRAPHY, SIZE)[:, :, :20].float()
    fit = fit_camera(torn, "homography")
    assert fit.model == "homography" and 0.25 < fit.inliers < 0.5
    assert torch.equal(residual_flow(torn, "auto"), residual_flow(torn, "subtract"))
    assert not torch.equal(residual_flow(torn, "auto"), residual_flow(torn, "homography"))


# ---- nothing to fit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("value", [0.0, 2.25])
def test_one_speed_everywhere_is_a_translation_and_nothing_is_left(model: Any, value: float) -> None:
    flow = torch.full((2, *SIZE), value)
    fit = fit_camera(flow, model)
    assert fit.model == "translation" and fit.inliers == 1 and fit.matrix[:2, 2].tolist() == [value, value]
    assert all(not residual_flow(flow, camera).any() for camera in CAMERAS if camera != "keep")


@pytest.mark.parametrize("camera", ["similarity", "homography", "auto"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 9), (2, 2), (3, 3), (2, 500)])
def test_small_fields_have_a_finite_rest(camera: Camera, size: tuple[int, int]) -> None:
    flow = torch.randn(2, *size, generator=torch.Generator().manual_seed(1))
    left = residual_flow(flow, camera)
    assert left.shape == flow.shape and torch.isfinite(left).all()


@pytest.mark.parametrize("model", MODELS)
def test_points_without_a_flow_are_left_out(model: Any) -> None:
    flow = with_block(MATRICES[model])
    flow[0, :10] = float("nan")
    flow[1, :, 60:] = float("inf")
    torch.testing.assert_close(fit_camera(flow, model).matrix, MATRICES[model], atol=1e-6, rtol=0)
    left = residual_flow(flow, model)
    assert torch.equal(torch.isfinite(left).all(dim=0), torch.isfinite(flow).all(dim=0))
    assert torch.isfinite(residual_flow(flow, "subtract")[:, 10:, :60]).all()


def test_a_frame_without_any_flow_has_no_camera() -> None:
    nothing = torch.full((2, *SIZE), float("nan"))
    for model in MODELS:
        fit = fit_camera(nothing, model)
        assert fit.model == "translation" and fit.inliers == 0 and torch.equal(fit.matrix, torch.eye(3).double())
    assert all(residual_flow(nothing, camera).isnan().all() for camera in CAMERAS)


def test_a_mirrored_or_folded_frame_is_no_camera() -> None:
    """A frame that comes back mirrored fits a homography exactly, and no camera makes it."""
    mirror = torch.tensor([[-1.0, 0, SIZE[1] - 1], [0, 1, 0], [0, 0, 1]]).double()
    fold = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1 / 40.3, 0, 1]]).double()
    for matrix in (mirror, fold):
        assert fit_camera(camera_flow(matrix, SIZE), "homography").model == "translation"


# ---- the same every time, and errors --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_the_same_flow_has_the_same_camera_whatever_else_runs(model: Any) -> None:
    """Neither OpenCV's seed nor other threads matter."""
    flow = with_block(MATRICES[model]) + torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(0)).double()

    def once(seed: int) -> list[list[float]]:
        cv2.setRNGSeed(seed)
        return fit_camera(flow, model).matrix.tolist()

    first = once(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == first for found in pool.map(once, range(12)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("camera", CAMERAS)
def test_the_rest_has_the_shape_and_type_of_the_flow_which_stays_as_it_was(camera: Camera, dtype: Any) -> None:
    flow = with_block(SIMILARITY).to(dtype)
    before = flow.clone()
    left = residual_flow(flow, camera)
    assert left.dtype == dtype and left.shape == flow.shape and torch.equal(flow, before)
    assert torch.equal(left, flow) == (camera == "keep")


def test_subtract_takes_the_median_of_both_directions() -> None:
    flow = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(3))
    median = torch.stack([flow[i].flatten().sort().values[14] for i in (0, 1)])
    assert torch.equal(residual_flow(flow, "subtract"), flow - median.view(2, 1, 1))


def test_settings_offer_the_cameras_there_are() -> None:
    for section in ("f_cam", "f_bound"):
        field = SECTIONS[section].model_fields["camera"]
        assert get_args(field.annotation) == CAMERAS == get_args(Camera) and field.default == "keep"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda flow: residual_flow(flow, "stop"),
            "camera 'stop' is not one of keep, subtract, similarity, homography, auto",
        ),
        (lambda flow: fit_camera(flow, "affine"), "camera model 'affine' is not one of similarity, homography"),
        (
            lambda flow: fit_camera(flow[:1], "homography"),
            "flow must have the shape (2, H, W) with at least one pixel, not (1, 4, 5)",
        ),
        (
            lambda flow: residual_flow(flow[:, :0], "subtract"),
            "flow must have the shape (2, H, W) with at least one pixel, not (2, 0, 5)",
        ),
    ],
)
def test_what_cannot_be_fitted_is_named(call: Any, message: str) -> None:
    with pytest.raises(WsvisError, match=f"^{re.escape(message)}$"):
        call(torch.zeros(2, 4, 5))
