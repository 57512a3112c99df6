from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsvis_core.datasets import VideoDataset, prepare_dataset
from wsvis_core.errors import WsvisError


@pytest.fixture
def prepared(tiny_set: Path, tmp_path: Path) -> VideoDataset:
    prepare_dataset(tiny_set, tmp_path / "prepared", name="tiny", split_mode="all")
    return VideoDataset.load(tmp_path / "prepared")


def test_frames_and_neighbours_are_the_files_on_disk(prepared, tiny_set):
    video = prepared.video(1)
    assert (video.name, video.width, video.height, len(video)) == ("synthetic_0000", 64, 48, 3)
    assert [frame.native_index for frame in video.frames] == [0, 2, 4]
    frame = prepared.read_frame(video, 1)
    assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
    expected = cv2.imread(str(tiny_set / "train/JPEGImages/synthetic_0000/00002.jpg"))[:, :, ::-1]
    assert np.array_equal(frame, expected)
    neighbour, direction = prepared.read_neighbour(video, 1)
    expected = cv2.imread(str(tiny_set / "train_all_frames/JPEGImages/synthetic_0000/00003.jpg"))[:, :, ::-1]
    assert direction == 1 and np.array_equal(neighbour, expected)


def test_labels_are_given_in_training_videos_and_never_in_held_out_ones(prepared):
    first, second, *_ = prepared.videos
    assert np.array_equal(
        prepared.given_labels(first), prepared.class_labels(first)
    )  # mode "all": held out, trained on
    held_out = replace(prepared, splits={"train": (first.id,), "val": (second.id,)})
    assert np.array_equal(held_out.given_labels(first), prepared.class_labels(first))
    assert held_out.given_labels(second) is None and held_out.class_labels(second).any()


def test_without_the_next_native_frame_the_previous_one_is_read(tiny_set, tmp_path):
    (tiny_set / "train_all_frames/JPEGImages/synthetic_0000/00005.jpg").unlink()
    prepare_dataset(tiny_set, tmp_path / "out", split_mode="all")
    dataset = VideoDataset.load(tmp_path / "out")
    frame = dataset.video(1).frames[2]
    assert frame.next_file_name is None
    assert frame.previous_file_name == "train_all_frames/JPEGImages/synthetic_0000/00003.jpg"
    image, direction = dataset.read_neighbour(dataset.video(1), 2)
    expected = cv2.imread(str(tiny_set / frame.previous_file_name))[:, :, ::-1]
    assert direction == -1 and np.array_equal(image, expected)


def test_a_one_frame_video_has_no_neighbour(prepared):
    video = prepared.video(3)
    assert len(video) == 1 and prepared.read_neighbour(video, 0) is None
    assert prepared.class_labels(video).shape == (1, 4)


def test_labels_are_those_of_the_annotations(prepared, tiny_set):
    content = json.loads((tiny_set / "train.json").read_text())
    for video in prepared.videos:
        expected = np.zeros((len(video), 4), dtype=bool)
        for entry in content["annotations"]:
            if entry["video_id"] == video.id:
                for t, segmentation in enumerate(entry["segmentations"]):
                    expected[t, entry["category_id"] - 1] |= segmentation is not None
        assert np.array_equal(prepared.class_labels(video), expected)


def test_splits_categories_and_ids(prepared):
    assert [video.id for video in prepared.split("val")] == [1, 2, 3, 4, 5, 6]
    assert prepared.num_classes == 4 and prepared.class_index(3) == 2
    with pytest.raises(WsvisError, match="split 'test' does not exist; expected one of train, val"):
        prepared.split("test")
    with pytest.raises(WsvisError, match="video id 99 is not among the 6 videos of the data set"):
        prepared.video(99)
    with pytest.raises(WsvisError, match="category id 5 is not in the data set; its ids are 1, 2, 3, 4"):
        prepared.class_index(5)


def test_it_travels_to_worker_processes(prepared):
    copy = pickle.loads(pickle.dumps(prepared))
    assert copy.video(2) == prepared.video(2)
    assert np.array_equal(copy.read_frame(copy.video(2), 0), prepared.read_frame(prepared.video(2), 0))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "frame file is missing"),
        (lambda path: path.write_bytes(b""), "frame cannot be decoded: .*not a readable image \\(0 bytes\\)"),
        (lambda path: path.write_bytes(path.read_bytes()[:-600]), "frame cannot be decoded: .*ends too early"),
        (
            lambda path: cv2.imwrite(str(path), np.zeros((50, 60, 3), np.uint8)),
            "frame size differs: train/JPEGImages/synthetic_0000/00000.jpg is 60x50, expected 64x48",
        ),
    ],
)
def test_a_frame_that_breaks_later_is_named(prepared, tiny_set, damage, message):
    damage(tiny_set / "train/JPEGImages/synthetic_0000/00000.jpg")
    with pytest.raises(WsvisError, match=r"video synthetic_0000 \(id 1\): " + message):
        prepared.read_frame(prepared.video(1), 0)


@pytest.mark.parametrize("name", ["../train.json", "/etc/passwd", "train/JPEGImages/../../train.json", "train.json"])
def test_file_names_never_lead_out_of_the_frame_folders(prepared, name):
    video = prepared.video(1)
    with pytest.raises(WsvisError, match="file name leads outside of the data set"):
        prepared._read_image(video, name)


def test_files_of_two_runs_do_not_mix(prepared, tmp_path):
    path = tmp_path / "prepared" / "class_labels.json"
    content = json.loads(path.read_text())
    del content["videos"]["6"]
    path.write_text(json.dumps(content))
    with pytest.raises(WsvisError, match="do not belong together; delete the folder and run the rule prepare_dataset"):
        VideoDataset.load(tmp_path / "prepared")


def test_another_format_version_is_refused(prepared, tmp_path):
    path = tmp_path / "prepared" / "videos.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(WsvisError, match="has format version 2, this program reads version 1"):
        VideoDataset.load(tmp_path / "prepared")


def test_an_absent_folder_names_the_rule_that_makes_it(tmp_path):
    with pytest.raises(WsvisError, match="videos.json does not exist; it is made by the rule prepare_dataset"):
        VideoDataset.load(tmp_path)
