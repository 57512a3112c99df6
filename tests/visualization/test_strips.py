from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from wsvis_core.errors import WsvisError
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization import FrameColumn, TrackMask, VideoStrip
from wsvis_core.visualization.layers import instances_as_arrays, layer_rows
from wsvis_core.visualization.strips import made_layers, strip_html, track_presence

FRAME = np.full((24, 40, 3), 90, np.uint8)
NAMES = ["fox", "crab"]


def mask(left: int = 4) -> np.ndarray:
    result = np.zeros((24, 40), bool)
    result[4:16, left : left + 10] = True
    return result


def instances(count: int) -> InstanceSet:
    masks = torch.from_numpy(np.stack([mask(4 + 6 * i) for i in range(count)]).reshape(-1, 24, 40))
    return InstanceSet.from_masks(masks, torch.arange(count) % 2, torch.linspace(0.5, 0.9, count))


def full_column(index: int) -> FrameColumn:
    return FrameColumn(
        index,
        FRAME,
        flow=np.ones((2, 12, 20), np.float32),
        cam=np.full((1, 6, 10), 0.8, np.float32),
        cam_classes=["crab"],
        label_map=np.full((6, 10), 2),
        pseudo_labels=EncodedInstances.encode(instances(1)),
        predictions=instances(2),
        tracks=[TrackMask(1, "fox", 0.75, mask())],
        ground_truth=[(2, "crab", None, mask(8))],
    )


def test_all_layers_in_the_order_of_the_pipeline():
    strip = VideoStrip("v", [full_column(0), full_column(5)])
    rows = layer_rows(strip, NAMES)
    keys = ["frame", "flow", "cam", "labels", "pseudo", "prediction", "tracks", "truth"]
    assert [row.key for row in rows] == keys == made_layers(strip)
    assert all(len(row.cells) == 2 for row in rows)
    shapes = {row.key: row.cells[0].picture.shape for row in rows}
    assert shapes["frame"] == (24, 40, 3) and shapes["tracks"] == (48, 80, 3)
    html = strip_html(strip, NAMES)
    assert html.count("<img") == 2 * 8 + 1 and len(re.findall(r'alt="[^"]+"', html)) == 17
    assert "fox 75" not in html.split("<tbody")[1] and "1 fox 75" in html  # scores stand in the timeline
    assert "Not made" not in html


def test_instances_come_best_first_and_say_class_and_score():
    masks, classes, scores = instances_as_arrays(instances(2))
    assert masks.shape == (2, 24, 40) and classes.tolist() == [1, 0] and scores[0] > scores[1]
    row = layer_rows(VideoStrip("v", [FrameColumn(0, FRAME, predictions=instances(2))]), ["fox"])[1]
    assert [item.text for item in row.cells[0].items] == ["class 1 90", "fox 50"]


def test_a_cam_as_dict_takes_the_colours_of_its_classes():
    as_array = FrameColumn(0, FRAME, cam=np.ones((1, 3, 5)), cam_classes=["crab"])
    as_dict = FrameColumn(0, FRAME, cam={"crab": np.ones((3, 5))})
    first, second = (layer_rows(VideoStrip("v", [column]), NAMES)[1] for column in (as_array, as_dict))
    assert np.array_equal(first.cells[0].picture, second.cells[0].picture) and first.items == second.items
    empty = layer_rows(VideoStrip("v", [FrameColumn(0, FRAME, cam={})]), NAMES)[1]
    assert empty.note == "no class in these frames"


def test_one_scale_of_flow_for_a_video_and_at_least_one_pixel():
    still = FrameColumn(0, FRAME, flow=np.zeros((2, 24, 40), np.float32))
    moving = FrameColumn(1, FRAME, flow=np.full((2, 24, 40), 3, np.float32))
    assert layer_rows(VideoStrip("v", [still]), NAMES)[1].note == "full colour 1.0 px"
    row = layer_rows(VideoStrip("v", [still, moving]), NAMES)[1]
    assert row.note == "full colour 4.2 px" and not row.cells[0].picture.any()


def test_large_frames_are_reduced():
    large = FrameColumn(0, np.zeros((360, 640, 3), np.uint8), predictions=InstanceSet.empty(360, 640))
    rows = layer_rows(VideoStrip("v", [large]), NAMES)
    assert [row.cells[0].picture.shape for row in rows] == [(180, 320, 3)] * 2


def test_layers_that_were_not_made_are_named_and_gaps_are_marked():
    html = strip_html(VideoStrip("v", [FrameColumn(0, FRAME, tracks=[]), full_column(1)]), NAMES)
    assert html.count("not made") == 6 and "Not made for this video" not in html
    bare = strip_html(VideoStrip("v", [FrameColumn(0, FRAME)]), NAMES)
    assert "Not made for this video: flow, CAM, pseudo-label, prediction, tracks, ground truth." in bare
    assert "no frames of this video" in strip_html(VideoStrip("v"), NAMES)


def test_a_layer_that_found_nothing_says_so_in_one_line():
    column = FrameColumn(0, FRAME, predictions=InstanceSet.empty(24, 40), tracks=(), ground_truth=())
    html = strip_html(VideoStrip("v", [column] * 3), NAMES)
    for words in ("no predictions in these frames", "no tracks in these frames", "no objects in these frames"):
        assert f'colspan="3">{words}<' in html
    assert html.count("<img") == 3


def test_presence_of_tracks_over_time():
    first = FrameColumn(0, FRAME, tracks=[TrackMask(2, "fox", 0.5, mask())])
    second = FrameColumn(1, FRAME, tracks=[TrackMask(1, "crab", 0.5, mask()), TrackMask(2, "fox", 0.5, mask() & False)])
    presence = track_presence(VideoStrip("v", [first, second]))
    assert {key: [entry is not None for entry in row] for key, row in presence.items()} == {
        2: [True, False],
        1: [False, True],
    }
    html = strip_html(VideoStrip("v", [first, second]), NAMES)
    assert html.count(">present<") == 2 and html.count(">absent<") == 2


def test_long_captions_are_cut_and_names_are_escaped():
    html = strip_html(VideoStrip("<b>", [FrameColumn(0, FRAME, predictions=instances(5))]), ["<i>", "x"])
    assert "<b>" not in html and "<i>" not in html.replace("<i class", "") and "<li>+1</li>" in html


def test_errors_name_video_and_frame():
    with pytest.raises(WsvisError) as error:
        layer_rows(VideoStrip("cat", [FrameColumn(7, FRAME, cam=np.ones((2, 3, 4)), cam_classes=["fox"])]), NAMES)
    assert str(error.value) == (
        "video 'cat', frame 7: its CAM has shape (2, 3, 4) for 1 class names; expected (K,h,w) with K names"
    )
    with pytest.raises(WsvisError, match="video 'cat', frame 7: a frame of shape"):
        layer_rows(VideoStrip("cat", [FrameColumn(7, FRAME.astype(float))]), NAMES)
    with pytest.raises(WsvisError, match="video 'cat', frame 7: a flow of shape"):
        layer_rows(VideoStrip("cat", [FrameColumn(7, FRAME, flow=np.zeros((24, 40, 2)))]), NAMES)
