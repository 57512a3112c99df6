from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.errors import WsvisError
from wsvis_core.visualization.maps import cam_overlay, flow_to_rgb, flow_wheel, label_map_to_rgb
from wsvis_core.visualization.overlays import class_colours

GREY = np.full((8, 8, 3), 100, np.uint8)


def uniform_flow(dx: float, dy: float) -> np.ndarray:
    return np.broadcast_to(np.array([dx, dy], np.float32)[:, None, None], (2, 3, 4)).copy()


@settings(max_examples=30, deadline=None)
@given(st.floats(-9, 9), st.floats(-9, 9))
def test_flow_colour_agrees_with_a_slow_conversion(dx, dy):
    rgb, largest = flow_to_rgb(uniform_flow(dx, dy), 10.0)
    strength = min(1.0, np.hypot(dx, dy) / 10) ** 0.7
    expected = colorsys.hsv_to_rgb((np.arctan2(dy, dx) / (2 * np.pi)) % 1.0, 0.75, strength)
    assert largest == 10.0
    assert np.abs(rgb[1, 1] - np.array(expected) * 255).max() <= 2


def test_directions_have_their_own_hues():
    right, left, down, up = (flow_to_rgb(uniform_flow(*d), 1.0)[0][0, 0] for d in ((1, 0), (-1, 0), (0, 1), (0, -1)))
    assert right.argmax() == 0 and left.argmin() == 0
    assert down.argmax() == 1 and up.argmax() == 2


def test_still_flow_is_black_broken_pixels_are_grey_and_the_largest_motion_is_returned():
    rgb, largest = flow_to_rgb(uniform_flow(0, 0))
    assert largest == 0 and not rgb.any()
    flow = uniform_flow(3, 4)
    flow[0, 0, 0] = np.nan
    rgb, largest = flow_to_rgb(flow)
    assert largest == pytest.approx(5) and rgb[0, 0].tolist() == [128] * 3


def test_a_flow_of_another_shape_is_refused():
    with pytest.raises(WsvisError, match=r"a flow of shape \(3, 4, 2\) cannot be drawn; expected \(2,H,W\)"):
        flow_to_rgb(np.zeros((3, 4, 2), np.float32))


def test_the_wheel_is_black_outside_and_red_to_the_right():
    wheel = flow_wheel(40)
    assert wheel.shape == (40, 40, 3) and not wheel[0, 0].any()
    assert wheel[20, 38].argmax() == 0 and wheel[20, 38, 0] > 230


def test_the_strongest_class_tints_a_pixel_and_the_threshold_is_a_white_line():
    cam = np.zeros((2, 8, 8), np.float32)
    cam[0, :, :4], cam[1, :, 4:] = 1.4, 0.3
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    drawn = cam_overlay(GREY, cam, colours)
    assert drawn[3, 1].tolist() == [218, 14, 14]
    assert drawn[3, 6].argmax() == 2
    assert (drawn[0, :4] == 255).all()


def test_no_class_gives_the_grey_frame_and_missing_colours_are_refused():
    assert (cam_overlay(GREY, np.zeros((0, 2, 2)), np.zeros((0, 3), np.uint8)) == 70).all()
    with pytest.raises(WsvisError, match="needs 1 colours"):
        cam_overlay(GREY, np.zeros((1, 2, 2)), np.zeros((2, 3), np.uint8))


def test_cam_that_is_not_finite_counts_as_nothing():
    drawn = cam_overlay(GREY, np.full((1, 8, 8), np.nan), class_colours([0]))
    assert (drawn == 70).all()


def test_label_map_shows_background_classes_and_ignored_pixels():
    labels = np.zeros((8, 8), np.int64)
    labels[:, 2:4], labels[:, 6:] = 2, 255
    drawn = label_map_to_rgb(labels)
    assert drawn[0, 0].tolist() == [24] * 3
    assert np.abs(drawn[5, 2] - (24 * 0.25 + class_colours([1])[0] * 0.75)).max() <= 1
    assert (drawn[:, 6:] == 210).any() and (drawn[:, 6:] == 24).any()
    assert label_map_to_rgb(labels, np.zeros((16, 24, 3), np.uint8)).shape == (16, 24, 3)
