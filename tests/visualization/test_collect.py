from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsvis_core.config import EvaluationSettings, ReportSettings, TrackingSettings
from wsvis_core.datasets import VideoDataset
from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.infer import score_frames, score_pseudo_labels, score_tracks
from wsvis_core.storage.instance_shards import KIND, open_instances, to_columns
from wsvis_core.storage.rle import encode_mask
from wsvis_core.storage.shards import write_shard
from wsvis_core.tracking.infer import track_instances
from wsvis_core.tracking.results import read_results, write_results
from wsvis_core.visualization.collect import RunFiles, collect_report, stage_costs
from wsvis_core.visualization.collect_labels import label_examples
from wsvis_core.visualization.collect_videos import mean_best_fit
from wsvis_core.visualization.inputs import ResultTable
from wsvis_core.visualization.report import make_report
from wsvis_core.visualization.transfers import PairTransfer, Transfers, write_transfers

HEADER = "s\th:m:s\tmax_rss\tmax_vms\n"


def benchmark(folder: Path, name: str, *rows: str) -> None:
    path = folder / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))


def test_costs_are_summed_per_rule_dearest_first(tmp_path):
    benchmark(tmp_path, "train_cam", "60.5\t0:01:00\t900.25\t1")
    benchmark(tmp_path, "extract_flow/dis/train-000", "20\t0:00:20\t100\t1")
    benchmark(tmp_path, "extract_flow/dis/train-001", "50\t0:00:50\t300\t1")
    benchmark(tmp_path, "publish_tracks", "0.2\t0:00:00\tNA\tNA")
    assert stage_costs(tmp_path) == [
        {"rule": "extract_flow", "jobs": 2, "seconds": 70.0, "max_rss_mb": 300.0},
        {"rule": "train_cam", "jobs": 1, "seconds": 60.5, "max_rss_mb": 900.25},
        {"rule": "publish_tracks", "jobs": 1, "seconds": 0.2, "max_rss_mb": None},
    ]


@pytest.mark.parametrize("cell", ["", "-", "NA"])
def test_a_job_too_short_for_a_memory_reading_does_not_hide_the_others(tmp_path, cell):
    benchmark(tmp_path, "a/x", f"1\t0:00:01\t{cell}\t1")
    benchmark(tmp_path, "a/y", "1\t0:00:01\t50\t1")
    assert stage_costs(tmp_path)[0]["max_rss_mb"] == 50.0


def test_no_benchmark_files(tmp_path):
    assert stage_costs(tmp_path) == [] == stage_costs(tmp_path / "none")
    benchmark(tmp_path, "killed")
    assert stage_costs(tmp_path) == []


@pytest.fixture(scope="module")
def files(stage1, perfect, prepared, tmp_path_factory) -> RunFiles:
    """A run whose predictions and pseudo-labels are the ground truth; the shard on view has three of six videos."""
    folder = tmp_path_factory.mktemp("run")
    dataset, evaluation = stage1.dataset, EvaluationSettings()
    track_instances(dataset, [perfect], [stage1.flow], TrackingSettings(), folder / "tracks.json")
    score_tracks(folder / "tracks.json", prepared / "ground_truth_val.json", evaluation, folder / "video.json")
    for split, score in (("train", score_pseudo_labels), ("val", score_frames)):
        score(dataset, [perfect], prepared / f"ground_truth_{split}.json", evaluation, folder / f"{split}.json")
    reader = open_instances([perfect])
    found = [reader.frame(2, t) for t in (0, 0, 1, 1, 1)]
    write_transfers(
        Transfers(True, 4, 1, (PairTransfer(2, 0, 1, *found, (False,) * len(found[4])),)), folder / "transfers.json"
    )
    (folder / "table4.csv").write_text("labeller,AP50_mean,AP50_se\nirn,0.25,\n")
    benchmark(folder / "benchmarks", "train_cam", "3\t0:00:03\t10\t1")
    write_shard(
        folder / "some.h5",
        kind=KIND,
        videos=dataset.videos[1:4],
        make_columns=lambda video: to_columns(reader.video(video.id)),
        settings={},
    )
    return RunFiles(
        dataset=prepared / "videos.json",
        ground_truth=prepared / "ground_truth_val.json",
        flow=[stage1.flow],
        cams=[stage1.cams],
        pseudo_labels=[folder / "some.h5"],
        predictions=[folder / "some.h5"],
        tracks=folder / "tracks.json",
        video_metrics=folder / "video.json",
        frame_metrics={"round 0": folder / "val.json", "round 1": folder / "val.json"},
        pseudo_label_metrics={"flowirn": folder / "train.json", "irn": folder / "train.json"},
        train_ground_truth=prepared / "ground_truth_train.json",
        train_labels={"flowirn": [perfect], "irn": [perfect]},
        tables={"table4": folder / "table4.csv"},
        transfers={"round 0": (folder / "transfers.json", stage1.cam_records)},
        records={"classifier": stage1.cam_records},
        benchmarks=folder / "benchmarks",
    )


PIPELINE = {"flow": "dis", "labeller": "flowirn", "rounds": 1, "compare_labellers": ["irn"]}


@pytest.fixture(scope="module")
def inputs(files):
    settings = ReportSettings(videos=2, frames_per_video=3)
    return collect_report("tiny", files, PIPELINE, {"seed": 0, "cam": {"epochs": 4}}, settings)


def test_metrics_of_every_kind(inputs, files):
    assert inputs.video_metrics["AP50"] == json.loads(files.video_metrics.read_text())["AP50"]
    rounds = {key: value for key, value in inputs.frame_metrics.items() if key.startswith("AP50")}
    assert rounds == pytest.approx({"AP50": 1, "AP50_round_0": 1, "AP50_round_1": 1})
    assert list(inputs.pseudo_labels) == ["flowirn", "irn"]
    assert inputs.pseudo_labels["irn"]["mean_best_iou"] == pytest.approx(1)
    assert all(isinstance(v, float | int) for found in inputs.pseudo_labels.values() for v in found.values())
    assert list(inputs.categories) == list(inputs.class_names) and len(inputs.class_names) == 4
    assert all(set(row) == {"video_AP50", "video_mAP", "frame_AP50"} for row in inputs.categories.values())


def test_label_quality_examples_and_tables(inputs, stage1, truth):
    found = inputs.label_quality["flowirn"]
    assert list(inputs.label_quality) == ["flowirn", "irn"] and found.mean_precision == [1.0] * 101
    assert list(found.category_precision) == list(found.categories) == list(inputs.class_names)
    objects = sum(mask is not None for entry in truth["annotations"] for mask in entry["segmentations"])
    assert found.best_ious == [0] * 19 + [objects] and sum(found.unmatched_scores) == 0
    assert sum(found.matched_scores) == inputs.pseudo_labels["flowirn"]["predictions"] == objects
    assert [row["objects"] for row in found.categories.values() if row["AP50"] == 1.0]
    assert list(inputs.label_examples) == ["Worst frames of flowirn", "Best frames of flowirn"]
    for examples in inputs.label_examples.values():
        assert 0 < len(examples) <= 8
        for example in examples:
            assert list(example.views) == ["flowirn", "irn"] and len(example.objects) > 0
            for view in example.views.values():
                assert view.best_ious == pytest.approx([1.0] * len(example.objects))
                decoded = sorted(mask.numpy().tobytes() for mask in view.labels.decode().masks)
                assert decoded == sorted(mask.tobytes() for _, mask in example.objects)
    first = inputs.label_examples["Worst frames of flowirn"][0]
    video = stage1.dataset.videos[0]
    assert first.title == f"{video.name}, frame 0" and np.array_equal(first.frame, stage1.dataset.read_frame(video, 0))
    assert inputs.tables == {"table4": ResultTable(("labeller", "AP50_mean", "AP50_se"), (("irn", "0.25", ""),))}


def test_false_alarms_have_a_sheet_of_their_own(stage1, truth, perfect):
    empty = {"video_id": 4, "frame": 0, "objects": 0, "labels": 1}
    examples = {"worst": [], "best": [], "false_alarms": [empty]}
    found = label_examples(stage1.dataset, truth, {"irn": [perfect]}, examples, "irn")
    assert [len(rows) for rows in found.values()] == [0, 0, 1]
    (alarm,) = found["Labels of irn where there is no object"]
    assert list(alarm.objects) == [] and len(alarm.views["irn"].best_ious) == 0


def test_transfers_come_with_their_frames_and_the_training_records(inputs, stage1):
    (name, sheet), video = *inputs.transfers.items(), stage1.dataset.video(2)
    assert name == "round 0" and (sheet.transfer, sheet.looked_at, sheet.with_transfer) == (True, 4, 1)
    assert sheet.records == inputs.scalars["classifier"]
    (view,) = sheet.views
    assert view.title == video.name and np.array_equal(view.source_frame, stage1.dataset.read_frame(video, 0))
    assert np.array_equal(view.target_frame, stage1.dataset.read_frame(video, 1))
    assert len(view.pair.targets) == len(view.pair.transferred) > 0


def test_counts_costs_records_and_facts(inputs):
    assert inputs.split_counts == {name: {"videos": 6, "frames": 21} for name in ("train", "val")}
    assert [row["rule"] for row in inputs.stage_costs] == ["train_cam"]
    assert [record["iteration"] for record in inputs.scalars["classifier"]][:3] == [0, 1, 2]
    facts = dict(inputs.facts)
    assert facts.pop("code").startswith(("commit ", "unknown commit"))
    assert facts == {
        "data set": "tiny",
        "videos": "6, trained on and looked at",
        "classes": "4",
        "flow": "dis",
        "labeller": "flowirn",
        "rounds": "1",
        "time": "3.0 s in 1 stages",
    }
    assert inputs.title == "wsvis · tiny" and inputs.settings["cam"] == {"epochs": 4}


def test_clips_show_evenly_spaced_frames_of_videos_of_the_shard(inputs, stage1):
    # Two of the shard's three, evenly spread: its first and its second; the strips are their middles.
    videos = stage1.dataset.videos[1:3]
    gallery = inputs.gallery
    assert (len(gallery.clips), gallery.candidates, gallery.held_out) == (2, 3, 6)
    assert [strip.name for strip in inputs.strips] == [video.name for video in videos]
    assert [[column.index for column in strip.columns] for strip in inputs.strips] == [[2], [0]]
    assert [(clip.video_id, clip.frames, clip.length) for clip in gallery.clips] == [
        (videos[0].id, [0, 2, 3], 4),
        (videos[1].id, [0], 1),
    ]
    names = stage1.dataset.categories
    for clip, video in zip(gallery.clips, videos, strict=True):
        present = np.flatnonzero(stage1.dataset.class_labels(video).any(axis=0))
        classes = ", ".join(names[c].name for c in present)
        sizes = {4: "4 frames of 80×48, 3 of them here", 1: "1 frame of 80×48"}[len(video)]
        assert clip.note == f"{sizes}; classes: {classes}" and list(clip.classes) == present.tolist()


def test_a_card_names_the_labelled_classes_that_no_track_has(files, inputs, stage1, tmp_path):
    entries = read_results(files.tracks)
    clip = inputs.gallery.clips[0]
    lost = stage1.dataset.categories[clip.classes[0]]
    kept = [e for e in entries if (e["video_id"], e["category_id"]) != (clip.video_id, lost.id)]
    write_results(tmp_path / "tracks.json", kept)
    some = dataclasses.replace(files, tracks=tmp_path / "tracks.json")
    found = collect_report("tiny", some, PIPELINE, {}, ReportSettings(videos=2, frames_per_video=3)).gallery.clips
    assert [c.note for c in found] == [f"{clip.note}; labelled, not found: {lost.name}", inputs.gallery.clips[1].note]


def test_a_clip_holds_every_layer_of_its_frames(inputs, stage1, truth):
    video, clip = stage1.dataset.videos[1], inputs.gallery.clips[0]
    objects = [entry for entry in truth["annotations"] if entry["video_id"] == video.id]
    assert clip.size == (48, 80) and len(clip.flow) == len(clip.cam) == len(clip.pictures) == 3
    assert [track.number for track in clip.truth] == list(range(1, len(objects) + 1))
    for moment, t in enumerate(clip.frames):
        frame = cv2.imdecode(np.frombuffer(clip.pictures[moment], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(frame.astype(int) - stage1.dataset.read_frame(video, t)).mean() < 12
        assert clip.cam_classes[moment] == np.flatnonzero(stage1.dataset.class_labels(video)[t]).tolist()
        for track, entry in zip(clip.truth, objects, strict=True):
            rle = entry["segmentations"][t]
            assert track.masks[moment] == (None if rle is None else rle["counts"]) and track.score is None
        present = [entry["segmentations"][t] for entry in objects if entry["segmentations"][t] is not None]
        for layer in (clip.predictions, clip.pseudo_labels):
            assert sorted(mark.mask for mark in layer[moment]) == sorted(rle["counts"] for rle in present)
    assert all(0 < track.score <= 1 for track in clip.tracks)
    # Predictions are the ground truth here: the tracks fit but for what tracking does to them.
    assert clip.quality > 0.5 and inputs.gallery.quality_name == "mean IoU"


def test_estimates_of_quality_reach_their_tracks(files, tmp_path):
    video = read_results(files.tracks)[0]["video_id"]
    rows = {"format": 3, "not_found": [], "tracks": [{"video_id": video, "track": 1, "estimate": 0.25}]}
    (tmp_path / "quality.json").write_text(json.dumps(rows))
    (tmp_path / "metrics.json").write_text('{"AUC": {}}')
    some = dataclasses.replace(files, quality=tmp_path / "quality.json", quality_metrics=tmp_path / "metrics.json")
    inputs = collect_report("tiny", some, PIPELINE, {}, ReportSettings(frames_per_video=1))
    found = {(c.video_id, t.number): t.estimate for c in inputs.gallery.clips for t in c.tracks}
    assert {key for key, value in found.items() if value is not None} <= {(video, 1)}
    assert inputs.quality == rows | {"evaluation": {"AUC": {}}} and found.get((video, 1), 0.25) == 0.25


def test_the_way_of_videos_trained_on_comes_with_the_published_route(inputs, files, tmp_path):
    assert len(inputs.way.videos) == 3 and inputs.way.of == 6 and inputs.way.choice is None
    choice = {"format": 1, "published": "direct", "reason": "of two", "worth": {}, "evidence": {}}
    (tmp_path / "route.json").write_text(json.dumps(choice))
    some = dataclasses.replace(files, routes=tmp_path / "route.json")
    assert collect_report("tiny", some, PIPELINE, {}, ReportSettings(videos=0)).way.choice == choice


def test_consistency_stands_among_the_metrics_of_frames(files, tmp_path):
    (tmp_path / "consistency.json").write_text(json.dumps({"TC": 0.75}))
    some = dataclasses.replace(files, consistency=tmp_path / "consistency.json")
    assert collect_report("tiny", some, PIPELINE, {}, ReportSettings(videos=0)).frame_metrics["TC"] == 0.75


def test_videos_beyond_the_megabytes_are_left_out_but_for_the_first(files):
    one = collect_report("tiny", files, PIPELINE, {}, ReportSettings(megabytes=1e-6)).gallery
    assert [clip.video_id for clip in one.clips] == [2] and one.candidates == 3


def rle_track(category: int, *columns: tuple[int, int]) -> dict:
    """Masks 2×4 that fill whole columns first..last."""
    masks = []
    for first, last in columns:
        mask = np.zeros((2, 4), bool)
        mask[:, first : last + 1] = True
        masks.append(encode_mask(mask) if mask.any() else None)
    return {"category_id": category, "segmentations": masks}


def test_the_quality_of_a_video_is_the_mean_iou_of_its_objects_best_tracks():
    objects = [rle_track(1, (0, 1), (0, 1)), rle_track(2, (3, 3), (1, 0))]
    tracks = [rle_track(1, (0, 1), (1, 2)), rle_track(1, (0, 0), (1, 0)), rle_track(2, (0, 0), (0, 0))]
    # First object: shared 4 + 2 of 4 + 6 pixels; the second shares nothing with the only track of its category.
    assert mean_best_fit(tracks, objects) == pytest.approx((6 / 10 + 0) / 2)
    assert mean_best_fit([], objects) == 0.0 and mean_best_fit(tracks, []) is None
    assert mean_best_fit(tracks, [{**objects[0], "iscrowd": 1}]) is None


def test_the_page_is_written(inputs, tmp_path):
    make_report(inputs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "wsvis · tiny" in html and "AP50 round 0" in html


def test_no_videos_on_the_page(files):
    inputs = collect_report("tiny", files, PIPELINE, {}, ReportSettings(videos=0))
    assert list(inputs.strips) == [] == list(inputs.gallery.clips)


def test_a_missing_metrics_file_is_named(files, tmp_path):
    gone = dataclasses.replace(files, video_metrics=tmp_path / "none.json")
    with pytest.raises(WsvisError, match=r"none\.json does not exist; it is made by the evaluate rules"):
        collect_report("tiny", gone, PIPELINE, {}, ReportSettings())


def test_without_ground_truth_the_page_says_that_there_is_nothing_to_evaluate(files, prepared, tmp_path):
    truth = json.loads(files.ground_truth.read_text()) | {"annotations": None}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    dataset, settings, metrics = VideoDataset.load(prepared), EvaluationSettings(), tmp_path / "metrics.json"
    for score in (score_frames, score_pseudo_labels):
        score(dataset, files.train_labels["irn"], tmp_path / "truth.json", settings, metrics)
        assert list(json.loads(metrics.read_text())) == ["not_evaluated"]
        metrics.unlink()
    score_tracks(files.tracks, tmp_path / "truth.json", settings, metrics)
    bare = dataclasses.replace(
        files,
        ground_truth=tmp_path / "truth.json",
        train_ground_truth=tmp_path / "truth.json",
        video_metrics=metrics,
        frame_metrics={"round 0": metrics},
        pseudo_label_metrics={"flowirn": metrics},
    )
    inputs = collect_report("mine", bare, PIPELINE, {}, ReportSettings(videos=1, frames_per_video=1))
    assert inputs.facts["ground truth"] == "none: class labels only, nothing to evaluate"
    assert not (inputs.video_metrics or inputs.frame_metrics or inputs.pseudo_labels or inputs.label_examples)
    [column] = inputs.strips[0].columns
    assert column.ground_truth is None and column.tracks is not None
    [clip] = inputs.gallery.clips
    assert clip.truth is None and clip.quality == pytest.approx(np.mean([track.score for track in clip.tracks]))
    make_report(inputs, tmp_path / "report.html")
    assert "nothing to evaluate" in (tmp_path / "report.html").read_text()
