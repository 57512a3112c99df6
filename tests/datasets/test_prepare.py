from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

from wsvis_core.datasets import VideoDataset, prepare_dataset
from wsvis_core.datasets.youtube_vis import YOUTUBE_VIS_2019_NAMES
from wsvis_core.errors import WsvisError
from wsvis_core.storage.rle import decode_mask

FILES = ["class_labels.json", "ground_truth_train.json", "ground_truth_val.json", "splits.json", "summary.json"]


def prepare(root, output, **options):
    return prepare_dataset(root, output, name="tiny", **{"split_mode": "all", **options})


def failure(root, tmp_path, **options) -> list[str]:
    """The lines of the one error; nothing may have been written."""
    with pytest.raises(WsvisError) as error:
        prepare(root, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    return str(error.value).splitlines()


def test_the_summary_counts_and_the_files_are_there(tiny_set, tmp_path):
    summary = prepare(tiny_set, tmp_path / "out", split_mode="sampled", per_category=2, target_union=2, workers=3)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([*FILES, "videos.json"])
    assert summary == json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["videos"], summary["frames"], summary["one_frame_videos"]) == (6, 16, 1)
    assert summary["stride_histogram"] == {"2": 10}
    assert summary["frames_with_next"] == 15 and summary["frames_with_previous"] == 10
    assert sum(entry["tracks"] for entry in summary["classes"]) == summary["tracks"]
    assert summary["split"]["train"] + summary["split"]["val"] == 6
    for entry in summary["classes"]:
        assert entry["train_videos"] + entry["val_videos"] == entry["videos"]


def test_ground_truth_holds_only_the_videos_of_its_split(tiny_set, tmp_path):
    prepare(tiny_set, tmp_path / "out", split_mode="sampled", per_category=2, target_union=None)
    splits = json.loads((tmp_path / "out/splits.json").read_text())
    source = {a["id"]: a for a in json.loads((tiny_set / "train.json").read_text())["annotations"]}
    seen = 0
    for part in ("train", "val"):
        content = json.loads((tmp_path / f"out/ground_truth_{part}.json").read_text())
        assert [v["id"] for v in content["videos"]] == splits[part]
        for entry in content["annotations"]:
            assert entry["video_id"] in splits[part]
            for rle, box, area, expected in zip(
                entry["segmentations"],
                entry["bboxes"],
                entry["areas"],
                source[entry["id"]]["areas"],
                strict=True,
            ):
                assert area == expected and (rle is None) == (box is None) == (area is None)
                if rle is not None:
                    assert isinstance(rle["counts"], str) and decode_mask(rle).sum() == area
                    seen += 1
    assert seen and len(source) > 0


@pytest.mark.parametrize("workers", [1, 4])
def test_two_runs_give_the_same_bytes_whatever_the_workers(tiny_set, tmp_path, workers):
    prepare(tiny_set, tmp_path / "a")
    prepare(tiny_set, tmp_path / "b", workers=workers)
    for name in [*FILES, "videos.json"]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_absent_folder_says_what_to_put_where(tmp_path):
    lines = failure(tmp_path / "data", tmp_path)
    root = tmp_path / "data"
    assert lines == [
        f"data set 'tiny': {root}/train.json and {root}/train/JPEGImages not found.",
        "Put the data (for YouTube-VIS 2019: the training set from https://youtube-vos.org/dataset/vis/) there:",
        f"  {root}/",
        "    train.json                                              annotations in YouTube-VIS 2019 format",
        "    train/JPEGImages/<video>/<frame number>.jpg             the annotated frames",
        "    train_all_frames/JPEGImages/<video>/<frame number>.jpg  every frame, for flow to the next one (optional)",
        "or set datasets.tiny.root to where it is. `make demo` needs no data: it generates its own.",
    ]


def test_broken_json_and_files_without_annotations(tiny_set, tmp_path):
    (tiny_set / "train.json").write_text("{")
    assert "train.json is not valid JSON" in failure(tiny_set, tmp_path)[0]
    (tiny_set / "train.json").write_text('{"videos": [], "categories": []}')
    assert (
        "expected lists named videos, categories, annotations, missing: annotations" in failure(tiny_set, tmp_path)[0]
    )


def test_everything_that_is_wrong_is_reported_at_once(tiny_set, tmp_path, edit):
    frames = tiny_set / "train/JPEGImages"
    (frames / "synthetic_0000/00000.jpg").unlink()
    (frames / "synthetic_0000/00002.jpg").unlink()
    (frames / "synthetic_0001/00000.jpg").write_bytes(b"no image")
    cv2.imwrite(str(frames / "synthetic_0003/00002.jpg"), np.zeros((48, 65, 3), np.uint8))

    def change(content):
        content["categories"].append({"id": 0, "name": "background"})
        content["annotations"][0]["video_id"] = 77

    edit(change)
    lines = failure(tiny_set, tmp_path)
    assert lines == [
        f"data set 'tiny' in {tiny_set} cannot be used: 6 problems found",
        "  1 x category id is not a whole number from 1 up (0 means 'unmatched' in COCO tools)",
        "      entry 4 of the list: id 0",
        "  1 x annotation of an unknown video",
        "      annotation 1: video_id 77",
        "  2 x frame file is missing",
        f"      {frames}/synthetic_0000/00000.jpg",
        f"      {frames}/synthetic_0000/00002.jpg",
        "  1 x frame cannot be decoded",
        f"      {frames}/synthetic_0001/00000.jpg: not a readable image (8 bytes)",
        "  1 x frame size differs from the annotation file",
        f"      {frames}/synthetic_0003/00002.jpg: 65x48, expected 64x48 (width x height)",
        f"Repair or remove what is named (annotation file: {tiny_set}/train.json), then run the same command again.",
    ]


def test_long_lists_of_one_kind_are_cut(tiny_set, tmp_path):
    shutil.rmtree(tiny_set / "train/JPEGImages/synthetic_0000")
    shutil.rmtree(tiny_set / "train/JPEGImages/synthetic_0001")
    shutil.rmtree(tiny_set / "train/JPEGImages/synthetic_0003")
    lines = failure(tiny_set, tmp_path, check_images="none")
    assert lines[1] == "  9 x frame file is missing" and lines[7] == "      ... and 4 more" and len(lines) == 9


VIDEO = "video 1"
CORRUPTIONS = {
    "video id is used twice": (lambda c: c["videos"][1].update(id=1), "id 1"),
    "video id is not a whole number from 1 up (0 means 'unmatched' in COCO tools)": (
        lambda c: c["videos"][1].update(id="2"),
        "entry 1 of the list: id '2'",
    ),
    "annotation id is not a whole number from 1 up (0 means 'unmatched' in COCO tools)": (
        lambda c: c["annotations"].insert(0, 5),
        "entry 0 of the list: not an object",
    ),
    "category id is used twice": (lambda c: c["categories"][1].update(id=1), "id 1"),
    "category has no name": (lambda c: c["categories"][1].pop("name"), "id 2"),
    "annotation id is used twice": (lambda c: c["annotations"][1].update(id=1), "id 1"),
    "annotation of an unknown category": (
        lambda c: c["annotations"][0].update(category_id=9),
        "annotation 1: category_id 9",
    ),
    "video length differs from its number of frame files": (
        lambda c: c["videos"][0].update(length=4),
        "video 1: length 4, 3 files",
    ),
    "annotation lists differ in length from the video": (
        lambda c: c["annotations"][0]["bboxes"].pop(),
        "annotation 1: bboxes 2, video 1 has 3 frames",
    ),
    "video has no list of frame files": (lambda c: c["videos"][0].update(file_names=[]), "video 1: file_names"),
    "video size is not two positive whole numbers": (
        lambda c: c["videos"][0].update(width=0),
        "video 1: width 0, height 48",
    ),
    "frame file name is not a number": (
        lambda c: c["videos"][0]["file_names"].__setitem__(0, "synthetic_0000/first.jpg"),
        "video 1: synthetic_0000/first.jpg",
    ),
    "frame numbers do not increase": (
        lambda c: c["videos"][0]["file_names"].reverse(),
        "video 1: synthetic_0000/00002.jpg comes after number 4",
    ),
    "frames of one video lie in several folders": (
        lambda c: c["videos"][0]["file_names"].__setitem__(1, "synthetic_0001/00002.jpg"),
        "video 1",
    ),
    "frame file belongs to two videos": (
        lambda c: c["videos"][1]["file_names"].__setitem__(0, "synthetic_0000/00000.jpg"),
        "synthetic_0000/00000.jpg: videos 1 and 2",
    ),
    "file name leads outside of the data set": (
        lambda c: c["videos"][0]["file_names"].__setitem__(0, "../../../secret/00000.jpg"),
        "video 1: '../../../secret/00000.jpg': it holds '..'",
    ),
    "segmentation cannot be read": (
        lambda c: c["annotations"][0]["segmentations"].__setitem__(1, {"size": [48, 64], "counts": [1, 2]}),
        "annotation 1, frame 1: RLE counts sum to 3, expected 48 x 64 = 3072",
    ),
    "no categories": (
        lambda c: c.update(categories=[], annotations=[]),
        "the list 'categories' is empty",
    ),
    "no videos": (lambda c: c.update(videos=[], annotations=[]), "the list 'videos' is empty"),
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_kind_of_corruption_has_its_message(tiny_set, tmp_path, edit, kind):
    change, example = CORRUPTIONS[kind]
    edit(change)
    lines = failure(tiny_set, tmp_path, check_images="none")
    position = next(i for i, line in enumerate(lines) if line.endswith(f" x {kind}"))
    assert lines[position + 1] == f"      {example}"


def test_a_link_out_of_the_data_set_is_refused(tiny_set, tmp_path):
    outside = tmp_path / "outside.jpg"
    frame = tiny_set / "train/JPEGImages/synthetic_0000/00000.jpg"
    shutil.move(frame, outside)
    frame.symlink_to(outside)
    lines = failure(tiny_set, tmp_path)
    assert lines[1] == "  1 x file name leads outside of the data set"
    assert lines[2].startswith("      video 1: 'synthetic_0000/00000.jpg': a symbolic link leads to")
    frame.unlink()
    shutil.move(outside, frame)
    every = tiny_set / "train_all_frames/JPEGImages/synthetic_0000"
    shutil.move(every, tmp_path / "elsewhere")
    every.symlink_to(tmp_path / "elsewhere")
    assert "video 1: 'synthetic_0000': a symbolic link leads to" in failure(tiny_set, tmp_path)[2]


def test_a_linked_neighbour_frame_out_of_the_data_set_is_refused(tiny_set, tmp_path):
    outside = tmp_path / "outside.jpg"
    frame = tiny_set / "train_all_frames/JPEGImages/synthetic_0000/00001.jpg"
    shutil.move(frame, outside)
    frame.symlink_to(outside)
    lines = failure(tiny_set, tmp_path)
    assert lines[1].endswith(" x file name leads outside of the data set")


def test_the_root_itself_may_be_a_link(tiny_set, tmp_path):
    (tmp_path / "data").symlink_to(tiny_set)
    assert prepare(tmp_path / "data", tmp_path / "out")["videos"] == 6
    dataset = VideoDataset.load(tmp_path / "out")
    assert dataset.read_frame(dataset.videos[0], 0).shape == (48, 64, 3)


def test_a_cut_off_jpeg_is_found_by_decoding_only(tiny_set, tmp_path):
    path = tiny_set / "train/JPEGImages/synthetic_0000/00000.jpg"
    path.write_bytes(path.read_bytes()[:-700])
    assert prepare(tiny_set, tmp_path / "header", check_images="header")["videos"] == 6
    assert failure(tiny_set, tmp_path)[1] == "  1 x frame cannot be decoded"


def test_without_all_frames_there_are_no_neighbours_and_a_warning(tiny_set, tmp_path):
    shutil.rmtree(tiny_set / "train_all_frames")
    summary = prepare(tiny_set, tmp_path / "out")
    assert summary["frames_with_next"] == summary["frames_with_previous"] == 0
    warning = summary["warnings"][0]
    assert warning["what"] == "video without native neighbour frames (flow goes to the next annotated frame)"
    assert warning["count"] == 6 and warning["examples"][0] == "video 1 (synthetic_0000)"
    dataset = VideoDataset.load(tmp_path / "out")
    assert dataset.read_neighbour(dataset.video(1), 0) is None


def test_the_stride_comes_from_the_file_names(tiny_set, tmp_path, edit):
    """Frames 0, 1, 4: the annotated neighbour itself is the native one; 4 -> 20 is a gap too long for a pair."""
    folder = tiny_set / "train/JPEGImages/synthetic_0000"
    shutil.rmtree(tiny_set / "train_all_frames/JPEGImages/synthetic_0000")
    (folder / "00002.jpg").rename(folder / "00001.jpg")
    (folder / "00004.jpg").rename(folder / "00020.jpg")
    names = [f"synthetic_0000/{t:05d}.jpg" for t in (0, 1, 20)]
    edit(lambda c: c["videos"][0].update(file_names=names))
    summary = prepare(tiny_set, tmp_path / "out")
    assert summary["stride_histogram"] == {"1": 1, "2": 8, "19": 1}
    assert summary["warnings"][0] == {
        "what": "gap of more than 10 native frames (no pair across it)",
        "count": 1,
        "examples": ["video 1: before synthetic_0000/00020.jpg"],
    }
    frames = VideoDataset.load(tmp_path / "out").video(1).frames
    assert [frame.native_index for frame in frames] == [0, 1, 20]
    assert frames[0].next_file_name == "train/JPEGImages/synthetic_0000/00001.jpg"
    assert frames[1].previous_file_name == "train/JPEGImages/synthetic_0000/00000.jpg"
    assert frames[2].next_file_name is None and frames[2].previous_file_name is None


def test_names_with_other_padding_in_the_all_frames_folder_are_found(tiny_set, tmp_path):
    folder = tiny_set / "train_all_frames/JPEGImages/synthetic_0000"
    (folder / "00001.jpg").rename(folder / "1.jpg")
    prepare(tiny_set, tmp_path / "out")
    frame = VideoDataset.load(tmp_path / "out").video(1).frames[0]
    assert frame.next_file_name == "train_all_frames/JPEGImages/synthetic_0000/1.jpg"


def test_no_annotation_at_all_is_ordinary(tiny_set, tmp_path, edit):
    edit(lambda c: c.update(annotations=[]))
    summary = prepare(tiny_set, tmp_path / "out")
    assert summary["tracks"] == 0 and summary["frames_without_object"] == 16
    kinds = {warning["what"]: warning["count"] for warning in summary["warnings"]}
    assert kinds["video without any object (kept as a negative)"] == 6 and kinds["category without any object"] == 4
    dataset = VideoDataset.load(tmp_path / "out")
    assert not any(dataset.class_labels(video).any() for video in dataset.videos)


def test_empty_masks_count_as_absent_and_are_warned_about(tiny_set, tmp_path, edit):
    def change(content):
        entry = next(a for a in content["annotations"] if a["video_id"] == 1)
        entry["segmentations"] = [None, {"size": [48, 64], "counts": [48 * 64]}, []]
        content["annotations"] = [entry]

    edit(change)
    summary = prepare(tiny_set, tmp_path / "out")
    kinds = {warning["what"]: warning["count"] for warning in summary["warnings"]}
    assert kinds["mask without a pixel, taken as absent"] == 2 and kinds["annotation that is never visible"] == 1
    dataset = VideoDataset.load(tmp_path / "out")
    assert not dataset.class_labels(dataset.video(1)).any()
    truth = json.loads((tmp_path / "out/ground_truth_val.json").read_text())
    assert truth["annotations"][0]["segmentations"] == [None, None, None]


def test_missing_boxes_and_areas_are_filled_in(tiny_set, tmp_path, edit):
    def change(content):
        for entry in content["annotations"]:
            del entry["bboxes"], entry["areas"]

    edit(change)
    prepare(tiny_set, tmp_path / "out")
    truth = json.loads((tmp_path / "out/ground_truth_val.json").read_text())
    entry = truth["annotations"][0]
    t = next(i for i, rle in enumerate(entry["segmentations"]) if rle)
    assert entry["areas"][t] == decode_mask(entry["segmentations"][t]).sum() and len(entry["bboxes"][t]) == 4


def test_forty_categories_in_another_order_are_a_warning(tiny_set, tmp_path, edit):
    names = list(YOUTUBE_VIS_2019_NAMES)
    assert len(names) == 40
    names[0], names[1] = names[1], names[0]
    edit(lambda c: c.update(categories=[{"id": i + 1, "name": name} for i, name in enumerate(names)]))
    summary = prepare(tiny_set, tmp_path / "out")
    assert summary["warnings"][0] == {
        "what": "category order differs from YouTube-VIS 2019 (the names of the file are used)",
        "count": 2,
        "examples": ["id 1 is giant_panda, there it is person", "id 2 is person, there it is giant_panda"],
    }


def test_a_missed_union_is_a_warning(tiny_set, tmp_path):
    summary = prepare(tiny_set, tmp_path / "out", split_mode="sampled", per_category=1, target_union=100, max_seeds=5)
    held_out, seed = summary["split"]["val"], summary["split"]["seed"]
    assert not summary["split"]["hits_target"]
    assert summary["warnings"][-1]["examples"] == [f"wanted 100, got {held_out} with seed {seed}"]


def test_nothing_is_left_over_from_an_unfinished_write(tiny_set, tmp_path):
    prepare(tiny_set, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tmp"))
