"""`wsvis overlay`: what is drawn, on which frames, in which files; and what is refused."""

from __future__ import annotations

import json
import shutil

import av
import numpy as np
import pytest

from wsvis_core.cli import main
from wsvis_core.datasets import VideoDataset
from wsvis_core.storage.rle import decode_mask, encode_mask
from wsvis_core.visualization.overlay_video import (
    DrawnTrack,
    overlay_frames,
    result_tracks,
    whole_scale,
)
from wsvis_core.visualization.overlays import track_colour

NAMES = {1: "cat", 2: "dog"}


def box(top, left, height=12, width=12, size=(48, 80)):
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return encode_mask(mask)


def entry(video_id, masks, score=0.9, category=1):
    return {"video_id": video_id, "category_id": category, "score": score, "segmentations": masks}


def frames_of(path):
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture
def overlay(prepared, tmp_path, capsys):
    """Runs `wsvis overlay` on the tiny set; returns (exit code, printed lines, error, output folder)."""

    def run(results, *more, output="out", dataset=prepared):
        (tmp_path / "r.json").write_text(json.dumps(results))
        paths = ["--results", str(tmp_path / "r.json"), "--dataset", str(dataset), "--output", str(tmp_path / output)]
        code = main(["overlay", *paths, *map(str, more)])
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err, tmp_path / output

    return run


def test_a_mask_has_its_track_s_colour_and_nothing_else_is_drawn(overlay, dataset):
    video = dataset.videos[0]
    results = [
        entry(video.id, [box(24, 8), None, box(24, 20), None]),
        entry(video.id, [None, box(24, 50), None, None], category=2),
    ]
    code, lines, error, folder = overlay(results, "--video", video.id)
    assert (code, error) == (0, "")
    path = folder / f"{video.id:04d}_{video.name}.mp4"
    assert lines == [f"{path}: 4 frames at 6 fps, 640x384, frames enlarged 8 times, 2 of 2 tracks"]
    drawn = frames_of(path).astype(float)
    assert drawn.shape == (4, 384, 640, 3)
    plain = list(overlay_frames(lambda t: dataset.read_frame(video, t), len(video), []))
    for t, number, left in ((0, 1, 8), (1, 2, 50), (2, 1, 20)):
        edge = drawn[t, 34 * 8 : 36 * 8, left * 8 + 1]  # just inside the left side, below the tag
        assert np.abs(np.median(edge, axis=0) - track_colour(number)).max() < 40
        inside = np.s_[30 * 8 : 33 * 8, (left + 3) * 8 : (left + 9) * 8]
        expected = 0.65 * plain[t][inside].astype(float) + 0.35 * np.array(track_colour(number))
        assert np.abs(drawn[t][inside].mean(axis=(0, 1)) - expected.mean(axis=(0, 1))).max() < 8
    # Frame 3 has no mask, and the upper rows of no frame have one.
    assert np.abs(drawn[3] - plain[3]).mean() < 4
    assert np.abs(drawn[:, : 8 * 8] - np.stack(plain)[:, : 8 * 8]).mean() < 4


def test_colour_and_number_survive_a_selection():
    entries = [entry(1, [], score) for score in (0.2, 0.9, 0.5, 0.7)]
    assert [t.number for t in result_tracks(entries, NAMES)] == [1, 2, 3, 4]
    assert [t.text for t in result_tracks(entries, NAMES, min_score=0.6)] == ["2 cat 0.90", "4 cat 0.70"]
    assert [t.number for t in result_tracks(entries, NAMES, max_tracks=3)] == [2, 3, 4]
    assert [t.number for t in result_tracks(entries, NAMES, min_score=0.6, max_tracks=1)] == [2]
    assert result_tracks([], NAMES) == []


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [
        (96, 160, 4),
        (48, 80, 8),
        (480, 854, 1),
        (720, 1280, 1),
        (359, 360, 2),
        (360, 640, 1),
        (20, 1900, 1),
        (1, 1, 360),
    ],
)
def test_small_frames_are_enlarged_by_a_whole_factor(height, width, scale):
    assert whole_scale(height, width) == scale


def test_frames_are_read_one_by_one_as_they_are_taken():
    read = []

    def read_frame(t):
        read.append(t)
        return np.zeros((48, 80, 3), np.uint8)

    frames = overlay_frames(read_frame, 1000, [DrawnTrack(1, "1 cat", [box(2, 2)] * 1000)])
    assert read == []
    next(frames), next(frames)
    assert read == [0, 1]


def test_truth_stands_at_the_right(overlay, dataset, truth, prepared):
    video = dataset.videos[0]
    code, lines, _, folder = overlay(
        [], "--video", video.name, "--ground-truth", prepared / "ground_truth_val.json", output="pair.mp4"
    )
    drawn = frames_of(folder).astype(float)
    assert code == 0 and drawn.shape[1:3] == (384, 640 + 6 + 640)
    assert lines == [f"{folder}: 4 frames at 6 fps, 1286x384, frames enlarged 8 times, 0 of 0 tracks"]
    first = next(a for a in truth["annotations"] if a["video_id"] == video.id and a["segmentations"][0])
    inside = np.kron(decode_mask(first["segmentations"][0]), np.ones((8, 8))).astype(bool)
    left, right = drawn[0, :, :640], drawn[0, :, 646:]
    assert np.abs(left - right)[inside].mean() > 3 * np.abs(left - right)[~inside].mean()


def test_empty_results_give_plain_frames_of_all_held_out_videos(overlay, dataset):
    code, lines, _, folder = overlay([], "--fps", "29.97")
    assert code == 0 and len(lines) == len(dataset.split("val")) == len(list(folder.iterdir()))
    single = dataset.video(3)
    assert len(single) == 1
    frames = frames_of(folder / f"0003_{single.name}.mp4")
    assert frames.shape[0] == 1 and f"{single.name}.mp4: 1 frames at 29.97 fps" in lines[2]


def test_videos_json_itself_may_be_given(overlay, prepared):
    assert overlay([], "--video", 3, output="v.mp4", dataset=prepared / "videos.json")[0] == 0


@pytest.mark.parametrize(
    ("results", "more", "output", "part"),
    [
        ([], ["--video", "7", "nix"], "out", "--video 7 nix: no such id or name among 6: 1 ("),
        ([], [], "all.mp4", "is one file, but 6 videos are to be drawn; give a folder"),
        ([entry(9, [None])], [], "out", "result 1 (video 9, category 1): there is no such video"),
        ([entry(1, [None] * 3)], [], "out", "3 segmentations, but the video has 4 frames"),
        ([entry(1, [box(0, 0, size=(50, 80)), None, None, None])], [], "out", "has size [50, 80]"),
        ({}, [], "out", "must be a JSON list"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(overlay, results, more, output, part):
    code, lines, error, folder = overlay(results, *more, output=output)
    assert code == 2 and lines == [] and part in error
    assert not folder.exists()


def test_a_ground_truth_of_another_set_is_refused(overlay, truth, tmp_path):
    other = {
        **truth,
        "videos": [dict(video, height=49) if video["id"] == 2 else video for video in truth["videos"][:-1]],
        "annotations": [a for a in truth["annotations"] if a["video_id"] not in (2, 6)],
    }
    (tmp_path / "gt.json").write_text(json.dumps(other))
    code, _, error, _ = overlay([], "--ground-truth", tmp_path / "gt.json")
    assert code == 2 and "gt.json has 2 problems" in error
    assert "its video 2 has 4 frames of 80x49, the data set's" in error and "it has no video 6 (" in error


def test_a_missing_frame_is_named_and_leaves_no_half_video(overlay, prepared, tmp_path):
    index = json.loads((prepared / "videos.json").read_text())
    folder = tmp_path / "dataset"
    shutil.copytree(prepared, folder)
    shutil.copytree(index["root"], tmp_path / "set")
    (folder / "videos.json").write_text(json.dumps(index | {"root": str(tmp_path / "set")}))
    video = VideoDataset.load(folder).videos[1]
    (tmp_path / "set" / video.frames[2].file_name).unlink()
    code, _, error, out = overlay([], "--video", video.id, dataset=folder)
    assert code == 2 and f"video {video.name} (id 2): frame file is missing" in error
    assert list(out.iterdir()) == []
    (folder / "videos.json").write_text(json.dumps(index | {"root": "data/none"}))
    code, _, error, _ = overlay([], dataset=folder)
    assert code == 2 and "the frames lie under data/none, which is no folder seen from" in error


@pytest.mark.parametrize("option", [("--fps", "0"), ("--fps", "many"), ("--max-tracks", "0"), ("--max-tracks", "1.5")])
def test_options_out_of_range(overlay, option, capsys):
    with pytest.raises(SystemExit) as caught:
        overlay([], *option)
    assert caught.value.code == 2 and option[1] in capsys.readouterr().err
