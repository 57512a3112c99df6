from __future__ import annotations

import numpy as np
import pytest
import torch

from wsvis_core.errors import WsvisError
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization import FrameColumn, TrackMask, VideoStrip
from wsvis_core.visualization.layers import (
    Item,
    class_name,
    flow_scale,
    instances_as_arrays,
    items_html,
    layer_rows,
    strong,
)

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
    rows = layer_rows(VideoStrip("v", [full_column(0), full_column(5)]), NAMES)
    keys = ["frame", "flow", "cam", "labels", "pseudo", "prediction", "tracks", "truth"]
    assert [row.key for row in rows] == keys
    assert all(len(row.pictures) == 2 for row in rows)
    shapes = {row.key: row.pictures[0].shape for row in rows}
    assert shapes["frame"] == (24, 40, 3) and shapes["tracks"] == (48, 80, 3)
    assert layer_rows(VideoStrip("v"), NAMES) == []


def test_layers_of_some_moments_only_have_gaps_and_layers_of_none_no_row():
    rows = layer_rows(VideoStrip("v", [FrameColumn(0, FRAME, tracks=[]), FrameColumn(1, FRAME)]), NAMES)
    assert [row.key for row in rows] == ["frame", "tracks"]
    assert rows[1].pictures[0] is not None and rows[1].pictures[1] is None


def test_instances_come_best_first():
    masks, classes, scores = instances_as_arrays(instances(2))
    assert masks.shape == (2, 24, 40) and classes.tolist() == [1, 0] and scores[0] > scores[1]


def test_weak_instances_are_not_drawn_unless_there_is_nothing_better():
    assert strong([0.9, 0.3, 0.29]).tolist() == [True, True, False]
    assert strong([0.1, 0.2]).tolist() == [False, True] and strong([None, None]).tolist() == [True, True]
    assert strong([]).tolist() == [] and strong([0.0]).tolist() == [True]
    tracks = [TrackMask(1, "fox", 0.8, mask()), TrackMask(2, "fox", 0.1, np.ones((24, 40), bool))]
    both, one = (layer_rows(VideoStrip("v", [FrameColumn(0, FRAME, tracks=t)]), NAMES)[1] for t in (tracks, tracks[:1]))
    assert np.array_equal(both.pictures[0], one.pictures[0])


def test_a_cam_as_dict_takes_the_colours_of_its_classes():
    as_array = FrameColumn(0, FRAME, cam=np.ones((1, 3, 5)), cam_classes=["crab"])
    as_dict = FrameColumn(0, FRAME, cam={"crab": np.ones((3, 5))})
    first, second = (layer_rows(VideoStrip("v", [column]), NAMES)[1] for column in (as_array, as_dict))
    assert np.array_equal(first.pictures[0], second.pictures[0])
    empty = layer_rows(VideoStrip("v", [FrameColumn(0, FRAME, cam={})]), NAMES)[1]
    assert np.ptp(empty.pictures[0].astype(int), axis=2).max() == 0  # the grey frame


def test_one_scale_of_flow_for_a_video_and_at_least_one_pixel():
    still = np.zeros((2, 24, 40), np.float32)
    moving, broken = np.full((2, 24, 40), 3, np.float32), np.zeros((2, 24, 40), np.float32)
    broken[0, 0, 0] = np.inf
    assert flow_scale([]) == flow_scale([still]) == flow_scale([still, broken]) == 1.0
    assert flow_scale([still, moving]) == pytest.approx(3 * 2**0.5)
    columns = [FrameColumn(t, FRAME, flow=flow) for t, flow in enumerate((still, moving))]
    row = layer_rows(VideoStrip("v", columns), NAMES)[1]
    assert not row.pictures[0].any() and row.pictures[1].any()


def test_large_frames_are_reduced():
    large = FrameColumn(0, np.zeros((360, 640, 3), np.uint8), predictions=InstanceSet.empty(360, 640))
    rows = layer_rows(VideoStrip("v", [large]), NAMES)
    assert [row.pictures[0].shape for row in rows] == [(180, 320, 3)] * 2


def test_captions_are_escaped_and_say_how_many_more_there_are():
    html = items_html([Item("#ff0000", "<fox> 90")], more=3)
    assert html == '<ul class="dots"><li style="--dot:#ff0000">&lt;fox&gt; 90</li><li>+3</li></ul>'
    assert items_html([]) == "" and class_name(1, NAMES) == "crab" and class_name(7, NAMES) == "class 7"


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
