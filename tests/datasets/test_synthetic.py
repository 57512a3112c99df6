from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from wsvis_core.datasets.synthetic import SyntheticSettings, generate_video, write_dataset
from wsvis_core.datasets.synthetic_render import disturb
from wsvis_core.datasets.synthetic_scenes import GAP_KINDS
from wsvis_core.errors import WsvisError
from wsvis_core.flow.warp import backward_warp, warp_masks

DEMO = SyntheticSettings()


@pytest.fixture(scope="module")
def videos():
    return [generate_video(i, DEMO) for i in range(26)]


def test_shapes_types_and_sizes(videos):
    video = videos[0]
    assert video.frames.shape == (20, 96, 160, 3) and video.frames.dtype == np.uint8
    assert video.flow.shape == (19, 2, 96, 160) and video.flow.dtype == np.float32
    assert video.visible.shape == (19, 96, 160) and video.visible.dtype == bool
    assert video.masks.shape[1:] == (20, 96, 160) and len(video.masks) == len(video.classes)
    assert set(np.concatenate([v.classes for v in videos])) == {0, 1, 2, 3}


def test_the_same_seed_gives_the_same_video_whatever_the_size_of_the_set():
    first = generate_video(5, DEMO)
    again = generate_video(5, dataclasses.replace(DEMO, num_videos=40))
    other = generate_video(5, dataclasses.replace(DEMO, seed=1))
    assert np.array_equal(first.frames, again.frames) and np.array_equal(first.flow, again.flow)
    assert np.array_equal(first.masks, again.masks) and first.gaps == again.gaps
    assert not np.array_equal(first.frames, other.frames)


def test_exact_flow_brings_the_next_frame_back_on_visible_pixels(videos):
    warped_errors, still_errors = [], []
    for video in videos:
        disturbed = {gap.frame for gap in video.gaps}
        for t in range(len(video) - 1):
            if t in disturbed or t + 1 in disturbed:
                continue
            now, after = (torch.from_numpy(f.astype(np.float32)).permute(2, 0, 1) for f in video.frames[t : t + 2])
            back = backward_warp(after, torch.from_numpy(video.flow[t]))
            # Outlines mix two surfaces: leave one pixel round them out.
            inner = cv2.erode(video.visible[t].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
            inner &= video.masks[:, t].any(axis=0)
            warped_errors.append((back - now).abs().mean(0).numpy()[inner])
            still_errors.append((after - now).abs().mean(0).numpy()[inner])
    warped, still = np.concatenate(warped_errors), np.concatenate(still_errors)
    assert warped.mean() < 6.0  # grey levels, sensor noise included
    assert warped.mean() < 0.3 * still.mean()


def test_exact_flow_carries_masks_to_the_next_frame(videos):
    """F_{t->t+1} brings the mask of t+1 back to t: on visible pixels it must be the mask of t."""
    wrong = total = 0
    for video in videos:
        for t in range(len(video) - 1):
            carried = warp_masks(torch.from_numpy(video.masks[:, t + 1]), torch.from_numpy(video.flow[t])).numpy()
            wrong += int((carried != video.masks[:, t])[:, video.visible[t]].sum())
            total += int(video.masks[:, t][:, video.visible[t]].sum())
    assert wrong < 0.03 * total


def test_masks_never_overlap_and_small_remains_are_dropped(videos):
    for video in videos:
        assert video.masks.sum(axis=0).max(initial=0) <= 1
        areas = video.masks.sum(axis=(2, 3))
        assert ((areas == 0) | (areas >= DEMO.min_visible_pixels)).all()
        assert video.masks.any(axis=(1, 2, 3)).all()


def test_objects_have_the_size_the_method_expects(videos):
    areas = np.concatenate([video.masks.sum(axis=(2, 3)).ravel() for video in videos])
    assert 0.05 < areas[areas > 0].mean() / (96 * 160) < 0.10


def test_every_failure_mode_occurs_in_the_demo_set(videos):
    scenes = {video.scene for video in videos}
    assert scenes == {"single", "pair", "crossing", "together", "enter_leave", "static"}
    assert {gap.kind for video in videos for gap in video.gaps} == set(GAP_KINDS)
    assert 0.1 < np.mean([video.camera_moves for video in videos]) < 0.6
    assert 0.15 < np.concatenate([video.cue_hidden for video in videos]).mean() < 0.6
    assert sum(len(video) == 1 for video in videos) == 1
    assert any(not video.masks[:, t].any() for video in videos for t in range(0, len(video), 2))


def test_crossing_objects_share_a_class_touch_and_move_differently(videos):
    for video in (v for v in videos if v.scene == "crossing" and len(v) > 1):
        assert len(set(video.classes)) == 1 and len(video.classes) == 2
        touching = [
            t
            for t in range(len(video))
            if (cv2.dilate(video.masks[0, t].astype(np.uint8), np.ones((5, 5), np.uint8)) & video.masks[1, t]).any()
        ]
        assert touching
        t = min(touching[0], len(video) - 2)
        motion = [np.median(video.flow[t][0][mask]) for mask in video.masks[:, t] if mask.any()]
        assert len(motion) == 2 and abs(motion[0] - motion[1]) > 0.5


def test_objects_that_go_together_differ_in_class_and_share_their_motion(videos):
    for video in (v for v in videos if v.scene == "together"):
        assert video.classes[0] != video.classes[1]
        for t in range(len(video) - 1):
            if video.masks[:, t].any(axis=(1, 2)).all():
                motion = [np.median(video.flow[t][:, mask], axis=1) for mask in video.masks[:, t]]
                assert np.abs(motion[0] - motion[1]).max() < 1.5


def test_a_static_object_moves_with_the_ground(videos):
    chosen = [v for v in videos if v.scene == "static"]
    assert chosen
    for video in chosen:
        ground = np.median(video.flow[0][:, ~video.masks[:, 0].any(axis=0)], axis=1)
        differences = [np.abs(video.flow[0][:, mask].T - ground).max() for mask in video.masks[:, 0] if mask.any()]
        assert min(differences) < 1e-3


def test_gaps_are_single_frames_between_clear_annotated_ones_and_as_frequent_as_asked():
    settings = dataclasses.replace(DEMO, frames_per_video=12, gap_rate=0.3)
    videos = [generate_video(index, settings) for index in range(20, 44)]
    gaps = [
        (v, index, sorted(g.frame for g in v.gaps if g.object_index == index))
        for v in videos
        for index in range(len(v.masks))
    ]
    for video, _, frames in gaps:
        assert all(frame % 2 == 0 and 2 <= frame <= len(video) - 4 for frame in frames)
        assert all(after - frame > 2 for frame, after in itertools.pairwise(frames))
    # A frame after a gap is always clear: 0.3 of the others make 0.3 / 1.3 of all.
    assert np.mean([len(frames) / 10 for _, _, frames in gaps]) == pytest.approx(0.3 / 1.3, abs=0.05)
    assert not generate_video(20, dataclasses.replace(settings, gap_rate=0.0)).gaps


def test_a_darkened_object_is_darker_than_before(videos):
    cases = [(v, g) for v in videos for g in v.gaps if g.kind == "darken"]
    assert cases
    for video, gap in cases:
        mask, before = video.masks[gap.object_index, gap.frame], video.masks[gap.object_index, gap.frame - 1]
        if mask.any() and before.any():
            assert video.frames[gap.frame][mask].mean() < 0.6 * video.frames[gap.frame - 1][before].mean()


@pytest.mark.parametrize("kind", [kind for kind in GAP_KINDS if kind != "occlude"])
def test_a_disturbance_changes_the_object_and_leaves_the_rest(kind):
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (40, 60, 3)).astype(np.float32)
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:30, 15:40] = True
    changed = image.copy()
    disturb(changed, mask, kind)
    assert np.abs(changed - image)[12:28, 17:38].mean() > 30
    far = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)) == 0
    assert np.abs(changed - image)[far].max() < 0.1
    assert changed.min() >= 0 and changed.max() <= 255


def test_a_disturbance_of_no_known_kind_is_an_error():
    with pytest.raises(ValueError, match="disturb has no kind 'snow'"):
        disturb(np.zeros((4, 4, 3), np.float32), np.ones((4, 4), bool), "snow")


def test_optical_flow_works_on_it(videos):
    """OpenCV's DIS must beat zero flow clearly, else the flow-based parts have nothing to work with."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    errors, zero = [], []
    for video in videos[:10]:
        disturbed = {gap.frame for gap in video.gaps}
        for t in range(0, len(video) - 1, 3):
            if t in disturbed or t + 1 in disturbed:
                continue
            grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in video.frames[t : t + 2]]
            found = dis.calc(grey[0], grey[1], None).transpose(2, 0, 1)
            on = video.masks[:, t].any(axis=0) & video.visible[t]
            errors.append(np.linalg.norm(found - video.flow[t], axis=0)[on])
            zero.append(np.linalg.norm(video.flow[t], axis=0)[on])
    assert np.concatenate(errors).mean() < 1.0 < 1.5 < np.concatenate(zero).mean()


def test_one_frame_video_is_alone_and_can_be_switched_off():
    video = generate_video(3, DEMO)
    assert len(video) == 1 and video.flow.shape == (0, 2, 96, 160) and video.visible.shape == (0, 96, 160)
    assert len(generate_video(3, dataclasses.replace(DEMO, one_frame_video=None))) == 20
    assert len(generate_video(1, dataclasses.replace(DEMO, num_videos=2))) == 1


def test_write_dataset_gives_the_youtube_vis_layout(tiny_source: Path):
    content = json.loads((tiny_source / "train.json").read_text())
    assert [v["id"] for v in content["videos"]] == [1, 2, 3, 4, 5, 6]
    assert content["videos"][0]["file_names"] == [f"synthetic_0000/{t:05d}.jpg" for t in (0, 2, 4)]
    assert content["videos"][2]["length"] == 1
    assert [c["name"] for c in content["categories"]] == ["ember", "moss", "tide", "plum"]
    every = sorted(p.name for p in (tiny_source / "train_all_frames/JPEGImages/synthetic_0000").iterdir())
    assert every == [f"{t:05d}.jpg" for t in range(6)]
    annotated = sorted(p.name for p in (tiny_source / "train/JPEGImages/synthetic_0000").iterdir())
    assert annotated == ["00000.jpg", "00002.jpg", "00004.jpg"]
    with np.load(tiny_source / "exact_flow/synthetic_0000.npz") as flow:
        assert flow["flow"].shape == (5, 2, 48, 64) and flow["visible"].shape == (5, 48, 64)


def test_written_run_lengths_are_those_of_the_masks(tiny_source: Path):
    content = json.loads((tiny_source / "train.json").read_text())
    settings = SyntheticSettings(num_videos=6, frames_per_video=3, height=48, width=64, seed=3, one_frame_video=2)
    video = generate_video(0, settings)
    entry = next(a for a in content["annotations"] if a["video_id"] == 1)
    checked = 0
    for t, segmentation in zip((0, 2, 4), entry["segmentations"], strict=True):
        if segmentation is None:
            continue
        values = np.arange(len(segmentation["counts"])) % 2
        mask = np.repeat(values, segmentation["counts"]).reshape((48, 64), order="F").astype(bool)
        assert any(np.array_equal(mask, m) for m in video.masks[:, t])
        rows, columns = np.nonzero(mask)
        x, y = columns.min(), rows.min()
        assert entry["bboxes"][t // 2] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
        assert entry["areas"][t // 2] == mask.sum()
        checked += 1
    assert checked


def test_two_runs_write_the_same_bytes(tmp_path: Path):
    settings = SyntheticSettings(num_videos=2, frames_per_video=2, height=48, width=64)

    def digest(folder: Path) -> dict[str, str]:
        write_dataset(folder, settings)
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_jpeg_stays_close_to_the_frame(tiny_source: Path):
    settings = SyntheticSettings(num_videos=6, frames_per_video=3, height=48, width=64, seed=3, one_frame_video=2)
    image = cv2.imread(str(tiny_source / "train/JPEGImages/synthetic_0000/00002.jpg"))[:, :, ::-1]
    assert np.abs(image.astype(int) - generate_video(0, settings).frames[2]).mean() < 3.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 9}, "synthetic data set: num_classes is 9, expected 1 to 8; change it"),
        ({"height": 10}, "synthetic data set: height is 10, expected 48 to 2000"),
        ({"gap_rate": 1.5}, "synthetic data set: gap_rate is 1.5, expected 0 to 1"),
        (
            {f"{kind}_weight": 0.0 for kind in ("single", "pair", "crossing", "together", "enter_leave", "static")},
            "synthetic data set: all scene weights are 0",
        ),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(WsvisError, match=message):
        SyntheticSettings(**change)


@pytest.mark.parametrize("kind", ["single", "pair", "crossing", "together", "enter_leave", "static"])
def test_a_single_scene_kind_can_be_asked_for(kind):
    weights = {f"{k}_weight": float(k == kind) for k in
               ("single", "pair", "crossing", "together", "enter_leave", "static")}  # fmt: skip
    settings = SyntheticSettings(num_videos=3, one_frame_video=None, num_classes=1, **weights)
    assert {generate_video(i, settings).scene for i in range(2)} == {kind}


def test_settings_come_from_a_config_block():
    settings = SyntheticSettings.from_mapping({"num_videos": 5, "speed": [1.0, 2.0]})
    assert settings.num_videos == 5 and settings.speed == (1.0, 2.0)
    with pytest.raises(WsvisError) as error:
        SyntheticSettings.from_mapping({"num_video": 5})
    assert str(error.value) == "synthetic data set: unknown setting 'num_video', the nearest known one is 'num_videos'"


def test_an_earlier_generated_set_is_replaced_as_a_whole(tmp_path: Path):
    write_dataset(tmp_path, SyntheticSettings(num_videos=3, frames_per_video=3, height=48, width=64))
    write_dataset(tmp_path, SyntheticSettings(num_videos=2, frames_per_video=2, height=48, width=64))
    frames = sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "train").rglob("*.jpg"))
    assert frames == [f"train/JPEGImages/synthetic_{v:04d}/{t:05d}.jpg" for v, t in ((0, 0), (0, 2), (1, 0))]


def test_somebody_elses_annotations_are_never_overwritten(tmp_path: Path):
    (tmp_path / "train.json").write_text("precious")
    with pytest.raises(WsvisError, match="was not made by the generator .* and is kept"):
        write_dataset(tmp_path, SyntheticSettings(num_videos=1))
    assert (tmp_path / "train.json").read_text() == "precious"
