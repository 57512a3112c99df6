from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.errors import WsvisError
from wsvis_core.visualization.overlays import (
    PALETTE,
    class_colours,
    draw_instances,
    draw_tracks,
    enlarge,
    hex_colour,
    mute,
    resize_mask,
    track_colour,
    track_colours,
)

GREY = np.full((24, 32, 3), 100, np.uint8)


def square(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((24, 32), bool)
    mask[top : top + side, left : left + side] = True
    return mask


# How people without one kind of cone see linear RGB (Machado, Oliveira and Fernandes, 2009, severity 1).
VISION = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("kind", VISION)
def test_palette_is_told_apart_by_everybody(kind):
    rgb = PALETTE / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(VISION[kind]), 0, 1)
    encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(encoded.astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[~np.eye(len(lab), dtype=bool)]
    assert distances.min() >= (32 if kind == "all cones" else 17)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 10_000))
def test_a_track_keeps_its_colour_and_differs_from_its_neighbours(track_id):
    colour = np.array(track_colour(track_id))
    assert tuple(colour) == track_colour(track_id)
    assert colour.max() >= 150  # bright enough for a black page
    assert np.abs(colour - np.array(track_colour(track_id + 1))).sum() > 60


def test_first_ids_take_the_palette_and_classes_begin_there_too():
    assert np.array_equal(track_colours([1, 2, len(PALETTE)]), PALETTE[[0, 1, -1]])
    assert np.array_equal(class_colours([0, 1]), PALETTE[:2])
    assert len({track_colour(i) for i in range(1, 41)}) == 40
    assert track_colours([]).shape == (0, 3)
    assert hex_colour((255, 0, 16)) == "#ff0010"


def test_fill_inside_colour_at_the_edge_dark_rim_outside_untouched_beyond():
    drawn = draw_instances(GREY, square(6, 8, 12)[None], np.array([[255, 0, 0]], np.uint8), alpha=0.5)
    assert drawn[12, 14].tolist() == [178, 50, 50]
    assert drawn[6, 8].tolist() == [255, 0, 0] and drawn[17, 19].tolist() == [255, 0, 0]
    assert (drawn[5, 8:20] < 50).all() and (drawn[18, 8:20] < 50).all()
    assert (drawn[0] == 100).all()
    assert (GREY == 100).all()


def test_a_small_mask_stays_visible_on_a_large_one_in_any_order():
    masks, colours = np.stack([square(10, 12, 3), square(2, 4, 20)]), np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    for order in ([0, 1], [1, 0]):
        drawn = draw_instances(GREY, masks[order], colours[order])
        assert drawn[10, 12].tolist() == [255, 0, 0]


def test_two_touching_masks_of_one_colour_are_told_apart():
    masks = np.stack([square(4, 2, 12), square(4, 14, 12)])
    drawn = draw_instances(GREY, masks, np.array([[0, 255, 0]] * 2, np.uint8))
    assert (drawn[8, 12:16, 1] < 120).any()


def test_no_instance_gives_the_muted_frame_and_masks_follow_the_scale():
    none = draw_instances(GREY, np.zeros((0, 24, 32), bool), np.zeros((0, 3), np.uint8), scale=2)
    assert none.shape == (48, 64, 3) and (none == 100).all()
    drawn = draw_tracks(GREY, [3], np.stack([square(6, 8, 12)]), with_ids=False, scale=2)
    assert drawn[12, 17].tolist() == list(track_colour(3))


def test_an_empty_mask_draws_nothing_and_a_tag_at_the_border_stays_inside():
    drawn = draw_tracks(GREY, [1], np.zeros((1, 24, 32), bool))
    assert (drawn == 100).all()
    cornered = draw_tracks(GREY, [12], square(0, 29, 3)[None])
    assert (cornered == track_colour(12)).all(axis=-1).sum() > 9


def test_mute_and_enlarge_and_resize():
    coloured = np.zeros((4, 4, 3), np.uint8)
    coloured[..., 0] = 200
    assert np.ptp(mute(coloured, 1.0), axis=-1).max() == 0
    assert np.array_equal(mute(coloured, 0.0), coloured)
    assert enlarge(coloured, 0.01).shape == (1, 1, 3)
    half = np.zeros((2, 2), bool)
    half[:, 1] = True
    assert np.array_equal(resize_mask(half, 2, 2), half)
    assert resize_mask(half, 4, 4)[:, 2:].all() and not resize_mask(half, 4, 4)[:, :2].any()


def test_a_frame_of_the_wrong_kind_is_refused_by_shape_and_type():
    with pytest.raises(WsvisError) as error:
        draw_instances(np.zeros((4, 4), np.float32), np.zeros((0, 4, 4), bool), np.zeros((0, 3), np.uint8))
    assert str(error.value) == (
        "a frame of shape (4, 4) and type float32 cannot be drawn; expected RGB uint8 (H,W,3) with at least one pixel"
    )
