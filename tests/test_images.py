from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.backbones import PIXEL_MEAN, PIXEL_STD, normalise_images
from wsvis_core.images import PAD_COLOUR, random_crop_window, resize_image, scaled_size, to_tensor

QUICK = settings(max_examples=30, deadline=None)
SIDE, SEED = st.integers(1, 40), st.integers(0, 1000)


@QUICK
@given(SIDE, SIDE, st.integers(1, 40), SEED)
def test_a_crop_shows_a_rectangle_of_the_source_and_fills_the_rest(height, width, size, seed):
    window = random_crop_window(height, width, size, np.random.default_rng(seed))
    numbers = np.arange(height * width).reshape(height, width)
    canvas = window.apply(numbers, -1)
    assert canvas.shape == (size, size) and canvas.dtype == numbers.dtype
    shown = canvas >= 0
    assert shown.sum() == min(height, size) * min(width, size)
    ys, xs = np.nonzero(shown)
    assert shown[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].all()
    source = np.array(np.unravel_index(canvas[shown], numbers.shape))
    shift = source - np.array([ys, xs])
    assert (shift == shift[:, :1]).all()


@QUICK
@given(SIDE, SIDE, st.integers(1, 40), SEED)
def test_image_labels_and_flow_are_cut_alike(height, width, size, seed):
    window = random_crop_window(height, width, size, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 200, (height, width)).astype(np.uint8)
    image = np.repeat(labels[..., None], 3, axis=2)
    cut_image, cut_labels = window.apply(image, PAD_COLOUR), window.apply(labels, 255)
    inside = cut_labels != 255
    assert np.array_equal(cut_image[inside][:, 1], cut_labels[inside])
    assert (cut_image[~inside] == PAD_COLOUR).all()


@pytest.mark.parametrize(("length", "size", "offsets"), [(7, 5, 3), (5, 7, 3), (6, 6, 1)])
def test_every_offset_occurs(length, size, offsets):
    windows = [random_crop_window(length, length, size, np.random.default_rng(seed)) for seed in range(200)]
    assert {w.source_yx[0] + w.canvas_yx[1] for w in windows if w} == set(range(offsets))
    assert len({(w.source_yx, w.canvas_yx) for w in windows}) == offsets**2


def test_a_crop_is_a_function_of_the_generator():
    one, two = (random_crop_window(90, 30, 50, np.random.default_rng(4)) for _ in range(2))
    assert one == two


@QUICK
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 1500))
def test_scaled_size_has_the_long_side_and_the_shape(height, width, long_side):
    h, w = scaled_size(height, width, long_side)
    assert max(h, w) == long_side and min(h, w) >= 1
    assert abs(h - max(height * long_side / max(height, width), 1)) <= 0.5
    assert abs(w - max(width * long_side / max(height, width), 1)) <= 0.5


def test_resize_averages_when_shrinking_and_keeps_constants():
    checkers = (np.indices((40, 60)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    small = resize_image(checkers, (20, 30))
    assert small.shape == (20, 30, 3) and small.dtype == np.uint8 and np.abs(small.astype(int) - 127).max() <= 1
    for size in ((80, 90), (10, 90), (7, 5)):
        flat = resize_image(np.full((40, 60, 3), PAD_COLOUR, np.uint8), size)
        assert flat.shape == (*size, 3) and (flat == PAD_COLOUR).all()
    assert resize_image(checkers, (40, 60)) is checkers


def test_tensors_are_normalised_channel_first():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1] = (255, 128, 0)
    tensor = to_tensor(image)
    assert tensor.shape == (3, 2, 3) and tensor.dtype == torch.float32
    expected = [(v / 255 - m) / s for v, m, s in zip((255, 128, 0), PIXEL_MEAN, PIXEL_STD, strict=True)]
    assert tensor[:, 0, 1].tolist() == pytest.approx(expected, abs=1e-6)
    assert to_tensor(np.full((1, 1, 3), PAD_COLOUR, np.uint8)).abs().max() < 0.01
    mirrored = to_tensor(image[:, ::-1])
    assert torch.equal(mirrored, tensor.flip(-1))
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    assert torch.equal(normalise_images(batch)[0], tensor) and torch.equal(normalise_images(batch.float())[0], tensor)
