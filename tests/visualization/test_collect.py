from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from wsvis_core.config import EvaluationSettings, ReportSettings, TrackingSettings
from wsvis_core.datasets import VideoDataset
from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.infer import score_frames, score_pseudo_labels, score_tracks
from wsvis_core.storage.instance_shards import KIND, open_instances, to_columns
from wsvis_core.storage.shards import write_shard
from wsvis_core.tracking.infer import track_instances
from wsvis_core.visualization.collect import RunFiles, collect_report, stage_costs
from wsvis_core.visualization.collect_labels import label_examples
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
        flow=stage1.flow,
        cams=stage1.cams,
        pseudo_labels=folder / "some.h5",
        predictions=folder / "some.h5",
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
    assert inputs.facts == {"data set": "tiny", "flow": "dis", "labeller": "flowirn", "rounds": "1"}
    assert inputs.title == "wsvis · tiny" and inputs.settings["cam"] == {"epochs": 4}


def test_strips_show_evenly_spaced_frames_of_the_shard_s_first_videos(inputs, stage1):
    videos = stage1.dataset.videos[1:3]
    assert [strip.name for strip in inputs.strips] == [video.name for video in videos]
    assert [[column.index for column in strip.columns] for strip in inputs.strips] == [[0, 2, 3], [0]]
    names = stage1.dataset.categories
    for strip, video in zip(inputs.strips, videos, strict=True):
        present = np.flatnonzero(stage1.dataset.class_labels(video).any(axis=0))
        classes = ", ".join(names[c].name for c in present)
        assert strip.note == f"{len(video)} frames of 80×48; classes: {classes}"


def test_a_column_holds_every_layer_of_its_frame(inputs, stage1, truth):
    video, column = stage1.dataset.videos[1], inputs.strips[0].columns[1]
    t = column.index
    labels = np.flatnonzero(stage1.dataset.class_labels(video)[t])
    assert np.array_equal(column.frame, stage1.dataset.read_frame(video, t))
    assert column.flow.shape == (2, 48, 80) and column.cam.shape == (len(labels), 48, 80)
    assert list(column.cam_classes) == [stage1.dataset.categories[c].name for c in labels]
    objects = [e for e in truth["annotations"] if e["video_id"] == video.id and e["segmentations"][t] is not None]
    assert len(column.ground_truth) == len(column.predictions) == len(column.pseudo_labels) == len(objects) > 0
    assert {item.score for item in column.ground_truth} == {None}
    masks = [column.predictions.decode().masks[i].numpy() for i in range(len(objects))]
    for mine, item in zip(masks, column.ground_truth, strict=True):
        assert np.array_equal(mine, item.mask)
    assert all(0 < item.score <= 1 and item.track_id >= 1 for item in column.tracks)


def test_track_ids_stay_the_same_through_a_video(files):
    settings = ReportSettings(videos=3, frames_per_video=9)
    strips = collect_report("tiny", files, PIPELINE, {}, settings).strips
    names = [{(item.track_id, item.class_name) for c in strip.columns for item in c.ground_truth} for strip in strips]
    assert all(len({number for number, _ in found}) == len(found) for found in names)
    assert [len(strip.columns) for strip in strips] == [4, 1, 4]


def test_the_page_is_written(inputs, tmp_path):
    make_report(inputs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "wsvis · tiny" in html and "AP50 round 0" in html


def test_no_videos_on_the_page(files):
    inputs = collect_report("tiny", files, PIPELINE, {}, ReportSettings(videos=0))
    assert list(inputs.strips) == []


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
    make_report(inputs, tmp_path / "report.html")
    assert "nothing to evaluate" in (tmp_path / "report.html").read_text()
