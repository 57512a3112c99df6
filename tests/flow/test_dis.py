from __future__ import annotations

import cv2
import numpy as np
import pytest

from wsvis_core.flow.dis import PRESETS, DisFlow


def texture(height: int, width: int) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((height, width, 3)), (0, 0), 2)
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    return (noise * 255).astype(np.uint8)


def translated(dx: int, dy: int, height: int = 96, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Two frames in which everything moves by (dx, dy) px from the first to the second."""
    large = texture(height + 40, width + 40)
    first = large[20 : 20 + height, 20 : 20 + width]
    return first, large[20 - dy : 20 - dy + height, 20 - dx : 20 - dx + width]


def error(flow: np.ndarray, dx: float, dy: float) -> float:
    inside = flow[:, 12:-12, 12:-12]
    return float(np.abs(np.median(inside, axis=(1, 2)) - [dx, dy]).max())


@pytest.mark.parametrize("shift", [(3, 0), (-3, 0), (0, 2), (0, -2), (4, -3), (0, 0)])
def test_a_known_translation_is_found(shift):
    first, second = translated(*shift)
    flow = DisFlow().estimate(first, second)
    assert flow.shape == (2, 96, 160) and flow.dtype == np.float32 and flow.flags.c_contiguous
    assert error(flow, *shift) < 0.3
    inside = np.abs(flow[:, 12:-12, 12:-12] - np.reshape(shift, (2, 1, 1)))
    assert inside.mean() < 0.3


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_finds_the_direction(preset):
    assert error(DisFlow(preset=preset).estimate(*translated(3, 1)), 3, 1) < 1


def test_large_frames_are_reduced_and_flow_is_in_pixels_of_the_result():
    first, second = translated(8, 4, 192, 320)
    flow = DisFlow(long_side=160).estimate(first, second)
    assert flow.shape == (2, 96, 160) and error(flow, 4, 2) < 0.3


@pytest.mark.parametrize("size", [(48, 80), (20, 90), (33, 33)])
def test_frames_too_small_for_the_method_are_enlarged(size):
    first, second = translated(2, 0, *size)
    flow = DisFlow().estimate(first, second)
    assert min(flow.shape[1:]) == 64
    scale = flow.shape[2] / size[1]
    middle = flow[:, flow.shape[1] // 4 : -flow.shape[1] // 4, flow.shape[2] // 4 : -flow.shape[2] // 4]
    assert np.abs(np.median(middle, axis=(1, 2)) - [2 * scale, 0]).max() < 1


def test_the_same_frames_give_the_same_flow_again():
    estimator, frames = DisFlow(), translated(2, 1)
    first = estimator.estimate(*frames)
    estimator.estimate(*translated(-5, 3))
    assert np.array_equal(estimator.estimate(*frames), first)
