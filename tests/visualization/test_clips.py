"""Videos encoded for the player: sizes, colours, masks at the pictures' size, layers that were not made, one frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from wsvis_core.errors import WsvisError
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.rle import decode_mask
from wsvis_core.visualization.clips import CAM_WEIGHT, MOST_INSTANCES, ClipFacts, TrackFacts, make_clip
from wsvis_core.visualization.inputs import FrameColumn, TrackMask
from wsvis_core.visualization.overlays import class_colours

NAMES = ["fox", "crab"]
SIZE = (40, 80)


def box(top: int, left: int, bottom: int, right: int, size=SIZE) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def picture(data: bytes) -> np.ndarray:
    """RGB, or RGBA where there is opacity."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return found[..., [2, 1, 0, 3]] if found.shape[2] == 4 else found[..., ::-1]


def encode(columns, tracks=None, truth=None, *, long_side=320, **facts):
    known = {"video_id": 3, "name": "cat", "note": "a note", "length": 9} | facts
    return make_clip(ClipFacts(**known), iter(columns), NAMES, tracks, truth, long_side=long_side)


def decoded(text: str, size=SIZE) -> np.ndarray:
    return decode_mask({"size": list(size), "counts": text})


def test_frames_keep_their_colours_and_large_ones_are_reduced():
    frame = np.zeros((*SIZE, 3), np.uint8)
    frame[:, :40], frame[:, 40:] = (200, 40, 40), (20, 120, 220)
    clip = encode([FrameColumn(5, frame)])
    assert clip.size == SIZE and list(clip.frames) == [5] and (clip.video_id, clip.length) == (3, 9)
    for shown in (picture(clip.pictures[0]), picture(encode([FrameColumn(0, frame)], long_side=40).pictures[0])):
        left, right = shown[:, : shown.shape[1] // 4], shown[:, -shown.shape[1] // 4 :]
        assert np.abs(left.mean((0, 1)) - (200, 40, 40)).max() < 4
        assert np.abs(right.mean((0, 1)) - (20, 120, 220)).max() < 4
    assert encode([FrameColumn(0, frame)], long_side=40).size == (20, 40)


def test_flow_has_half_the_size_and_one_scale_for_the_whole_video():
    frame = np.zeros((*SIZE, 3), np.uint8)
    right, still = np.zeros((2, 20, 40), np.float32), np.zeros((2, 20, 40), np.float32)
    right[0] = 4
    clip = encode([FrameColumn(0, frame, flow=right), FrameColumn(1, frame, flow=still)])
    moving, dark = (picture(data) for data in clip.flow)
    assert moving.shape == (20, 40, 3) and clip.full_flow == pytest.approx(4)
    red = moving.mean((0, 1))
    assert red[0] > 150 and red[1] < 90 and dark.max() < 8


def test_a_cam_is_its_class_s_colour_with_the_activation_as_opacity():
    frame = np.zeros((*SIZE, 3), np.uint8)
    cam = np.zeros((2, 40, 80), np.float32)
    cam[0, :, :40], cam[1, :, 40:] = 1.0, 0.5
    clip = encode([FrameColumn(0, frame, cam=cam, cam_classes=["crab", "fox"])])
    found = picture(clip.cam[0]).astype(int)
    colours = class_colours([1, 0]).astype(int)
    assert found.shape == (20, 40, 4) and clip.cam_classes == [[1, 0]]
    assert np.abs(found[10, 5, :3] - colours[0]).max() < 12 and np.abs(found[10, 35, :3] - colours[1]).max() < 12
    assert abs(found[10, 5, 3] - 255 * CAM_WEIGHT) < 4 and abs(found[10, 35, 3] - 255 * CAM_WEIGHT / 2) < 4
    empty = encode([FrameColumn(0, frame, cam={})])
    assert empty.cam_classes == [[]] and picture(empty.cam[0])[..., 3].max() == 0


def test_masks_are_exact_at_the_frame_s_size_and_follow_the_pictures_when_they_are_reduced():
    frame, mask = np.zeros((*SIZE, 3), np.uint8), box(8, 20, 32, 60)
    column = FrameColumn(0, frame, tracks=[TrackMask(2, "crab", 0.5, mask)], ground_truth=[(1, "fox", None, ~mask)])
    tracks, truth = [TrackFacts(1, 0, 0.9), TrackFacts(2, 1, 0.5, 0.25)], [TrackFacts(1, 0, None)]
    clip = encode([column], tracks, truth)
    assert [(t.number, t.class_index, t.score, t.estimate) for t in clip.tracks] == [
        (1, 0, 0.9, None),
        (2, 1, 0.5, 0.25),
    ]
    assert clip.tracks[0].masks == [None] and np.array_equal(decoded(clip.tracks[1].masks[0]), mask)
    assert np.array_equal(decoded(clip.truth[0].masks[0]), ~mask)
    half = encode([column], tracks, truth, long_side=40)
    assert np.array_equal(decoded(half.tracks[1].masks[0], (20, 40)), box(4, 10, 16, 30, (20, 40)))


def test_instances_come_best_first_without_those_that_vanish_and_not_more_than_a_reader_can_see():
    frame = np.zeros((*SIZE, 3), np.uint8)
    masks = torch.from_numpy(np.stack([box(0, 0, 1, 1), box(10, 10, 30, 50), box(5, 5, 25, 45)]))
    few = InstanceSet.from_masks(masks, torch.tensor([0, 1, 0]), torch.tensor([0.9, 0.2, 0.7]))
    clip = encode([FrameColumn(0, frame, predictions=few, pseudo_labels=InstanceSet.empty(*SIZE))], long_side=20)
    assert [(mark.class_index, round(mark.score, 2)) for mark in clip.predictions[0]] == [(0, 0.7), (1, 0.2)]
    assert clip.pseudo_labels == [[]]
    many = masks[1:2].repeat(MOST_INSTANCES + 5, 1, 1)
    scores = torch.linspace(0.1, 0.9, len(many))
    column = FrameColumn(0, frame, predictions=InstanceSet.from_masks(many, torch.zeros(len(many)).long(), scores))
    assert len(encode([column]).predictions[0]) == MOST_INSTANCES


def test_what_was_not_made_at_every_moment_is_none_and_nothing_found_is_not():
    frame = np.zeros((*SIZE, 3), np.uint8)
    flow = np.zeros((2, *SIZE), np.float32)
    clip = encode([FrameColumn(0, frame, flow=flow, tracks=[]), FrameColumn(1, frame, tracks=[])], tracks=[])
    assert clip.flow is clip.cam is clip.pseudo_labels is clip.predictions is clip.truth is None
    assert clip.tracks == [] and len(clip.pictures) == 2


def test_the_cover_is_the_moment_with_most_tracks_and_shows_the_better_ones():
    frame, mask = np.full((*SIZE, 3), 90, np.uint8), box(4, 4, 36, 36)
    columns = [
        FrameColumn(0, frame, tracks=[]),
        FrameColumn(1, frame, tracks=[TrackMask(1, "fox", 0.8, mask), TrackMask(2, "fox", 0.1, mask[:, ::-1])]),
    ]
    cover = picture(encode(columns, [TrackFacts(1, 0, 0.8), TrackFacts(2, 0, 0.1)]).cover).astype(int)
    left, right = cover[20:60, 20:60], cover[20:60, 100:140]
    assert np.ptp(left.mean((0, 1))) > 30 > np.ptp(right.mean((0, 1)))
    weak = [FrameColumn(0, frame, tracks=[TrackMask(2, "fox", 0.1, mask)])]
    assert np.ptp(picture(encode(weak, [TrackFacts(2, 0, 0.1)]).cover)[40, 40].astype(int)) > 30


def test_a_picture_that_cannot_be_drawn_is_named():
    with pytest.raises(WsvisError, match="video 'cat', frame 7: a frame of shape"):
        encode([FrameColumn(7, np.zeros((4, 4)))])
