from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from wsvis_core.config import EvaluationSettings, TrackingSettings
from wsvis_core.datasets.splits import selection_videos
from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.infer import (
    frame_predictions,
    score_consistency,
    score_frames,
    score_pseudo_labels,
    score_tracks,
)
from wsvis_core.flow.infer import KIND as FLOW_KIND
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, open_instances, to_columns
from wsvis_core.storage.shards import write_shard
from wsvis_core.tracking.infer import track_instances
from wsvis_core.tracking.results import tracks_to_results, write_results
from wsvis_core.tracking.tracks import Track

SETTINGS = EvaluationSettings(bootstrap_resamples=40, bootstrap_seed=3, confidence=0.9)


def score(dataset, split, shard, prepared, tmp_path, **settings) -> dict:
    output, truth = tmp_path / "metrics.json", prepared / f"ground_truth_{split}.json"
    run = {"train": score_pseudo_labels, "val": score_frames}[split]
    run(dataset, [shard], truth, EvaluationSettings(**settings), output)
    return json.loads(output.read_text())


def changed(perfect, dataset, folder, change):
    """A shard of the perfect predictions after `change(frame)`."""
    reader, path = open_instances([perfect]), folder / "changed.h5"
    write_shard(
        path,
        kind=KIND,
        videos=dataset.videos,
        make_columns=lambda video: to_columns([change(frame) for frame in reader.video(video.id)]),
        settings={},
    )
    return path


def test_perfect_frames_score_one(dataset, perfect, prepared, tmp_path):
    metrics = score(dataset, "val", perfect, prepared, tmp_path)
    assert [metrics[key] for key in ("mAP", "AP50", "AP75", "AR100")] == pytest.approx([1.0] * 4)
    assert metrics["frames"] == 21 and metrics["predictions"] == metrics["ground_truth_instances"] > 0
    assert set(metrics["instances_per_frame"]) == {"0.05", "0.5"} and "diagnostics" not in metrics


def test_pseudo_labels_get_diagnostics_too(dataset, perfect, prepared, tmp_path):
    metrics = score(dataset, "train", perfect, prepared, tmp_path, instance_count_thresholds=(0.3,))
    found = metrics["diagnostics"]
    assert metrics["AP50"] == pytest.approx(1) and set(metrics["instances_per_frame"]) == {"0.3"}
    assert found["mean_best_iou"] == pytest.approx(1) and found["missed_share"] == 0
    assert found["mean_area_ratio"] == pytest.approx(1) and found["labels_per_object"] == pytest.approx(1)


def test_pseudo_labels_are_scored_apart_on_the_videos_options_may_be_chosen_on(dataset, perfect, prepared, tmp_path):
    chosen = selection_videos([video.id for video in dataset.split("train")], 0.4)

    whole = score(dataset, "train", perfect, prepared, tmp_path, selection_share=0.4)
    frames = {name: whole[name]["frames"] for name in ("selection", "rest")}
    lengths = {video.id: len(video) for video in dataset.split("train")}
    assert frames["selection"] == sum(lengths[i] for i in chosen) > 0
    assert sum(frames.values()) == whole["frames"] == sum(lengths.values())
    assert whole["selection"]["AP50"] == whole["rest"]["AP50"] == pytest.approx(1)
    alone = score(dataset, "train", perfect, prepared, tmp_path, selection_share=0)
    assert alone["selection"] is None and alone["rest"]["frames"] == whole["frames"]


def test_wrong_classes_score_nothing(dataset, perfect, prepared, tmp_path):
    def other_class(frame: EncodedInstances) -> EncodedInstances:
        classes = (frame.classes + 1) % dataset.num_classes
        return EncodedInstances(frame.size, frame.rles, classes, frame.scores, frame.boxes_xyxy)

    shard = changed(perfect, dataset, tmp_path, other_class)
    assert score(dataset, "val", shard, prepared, tmp_path)["AP50"] < 0.3


def test_no_predictions_score_zero(dataset, perfect, prepared, tmp_path):
    shard = changed(perfect, dataset, tmp_path, lambda frame: EncodedInstances.empty(frame.size))
    metrics = score(dataset, "train", shard, prepared, tmp_path)
    assert metrics["AP50"] == 0 and metrics["predictions"] == 0 and metrics["diagnostics"]["missed_share"] == 1


def test_every_frame_of_the_split_is_asked_for_once(dataset, perfect):
    places = [(video_id, index) for video_id, index, _ in frame_predictions(dataset, "val", [perfect])]
    assert places == [(video.id, t) for video in dataset.videos for t in range(len(video))]


def consistency(dataset, shard, flow, tmp_path, **settings) -> dict:
    output = tmp_path / "consistency.json"
    score_consistency(dataset, [shard], [flow], EvaluationSettings(**settings), output)
    return json.loads(output.read_text())


def moving_square(dataset, folder, *, step: int, far: tuple[int, ...] = ()):
    """(predictions, flow): a square of class 0 that moves `step` pixels to the right with every frame, and its flow.

    far: videos in which no two frames are close enough in time.
    """

    def predictions(video):
        masks = np.zeros((len(video), 1, video.height, video.width), bool)
        for t in range(len(video)):
            masks[t, 0, 10:22, 8 + step * t : 20 + step * t] = True
        frames = [InstanceSet.from_masks(torch.from_numpy(m), torch.zeros(1, dtype=torch.int64)) for m in masks]
        return to_columns([EncodedInstances.encode(frame) for frame in frames])

    def flow(video):
        field = np.zeros((len(video) - 1, 2, video.height, video.width), np.float16)
        field[:, 0] = -step
        return {"backward": field, "forward": -field, "pair_valid": np.full(len(video) - 1, video.id not in far)}

    paths = (folder / f"square{step}{far}.h5", folder / f"flow{step}{far}.h5")
    for path, kind, columns in zip(paths, (KIND, FLOW_KIND), (predictions, flow), strict=True):
        write_shard(path, kind=kind, videos=dataset.videos, make_columns=columns, settings={})
    return paths


def test_masks_that_move_with_the_flow_are_consistent_and_pairs_are_counted(dataset, tmp_path):
    found = consistency(dataset, *moving_square(dataset, tmp_path, step=4), tmp_path)
    pairs = sum(len(video) - 1 for video in dataset.videos)
    assert found["TC"] == found["AP50"] == pytest.approx(1) and found["pairs"] == pairs > 0
    assert found["TC_by_threshold"] == pytest.approx({"0.05": 1, "0.5": 1}) and found["left_out_pairs"] == 0
    # Masks stand still while the flow says that they move by half their width.
    still, _ = moving_square(dataset, tmp_path, step=0)
    _, fast = moving_square(dataset, tmp_path, step=8)
    assert consistency(dataset, still, fast, tmp_path)["TC"] == 0


def test_direction_and_occlusion_are_settings(dataset, tmp_path):
    shards = moving_square(dataset, tmp_path, step=4)
    for direction in ("backward", "both"):
        found = consistency(dataset, *shards, tmp_path, consistency_direction=direction)
        assert found["TC"] == pytest.approx(1) and ("forward" in found) == (direction == "both")
    found = consistency(dataset, *shards, tmp_path, consistency_ignore_occluded=True)
    assert found["TC"] == pytest.approx(1) and found["pairs"] > 0
    still, _ = moving_square(dataset, tmp_path, step=0)
    _, fast = moving_square(dataset, tmp_path, step=8)
    assert consistency(dataset, still, fast, tmp_path, consistency_direction="backward")["TC"] == 0


def test_pairs_too_far_apart_are_left_out_and_counted(dataset, tmp_path):
    long = dataset.videos[0]
    found = consistency(dataset, *moving_square(dataset, tmp_path, step=4, far=(long.id,)), tmp_path)
    assert found["left_out_pairs"] == len(long) - 1 > 0
    assert found["pairs"] == sum(len(video) - 1 for video in dataset.videos[1:])
    nothing = moving_square(dataset, tmp_path, step=4, far=tuple(video.id for video in dataset.videos))
    found = consistency(dataset, *nothing, tmp_path)
    assert found["TC"] == -1 and found["pairs"] == 0


def test_predictions_below_the_threshold_are_no_truth(dataset, perfect, flow_shard, tmp_path):
    def doubtful(frame: EncodedInstances) -> EncodedInstances:
        scores = np.full(len(frame), 0.3, np.float32)
        return EncodedInstances(frame.size, frame.rles, frame.classes, scores, frame.boxes_xyxy)

    shard = changed(perfect, dataset, tmp_path, doubtful)
    found = consistency(dataset, shard, flow_shard, tmp_path, consistency_thresholds=(0.5, 0.2))
    assert found["TC"] == found["TC_by_threshold"]["0.5"] == -1 and found["TC_by_threshold"]["0.2"] > 0.3
    empty = changed(perfect, dataset, tmp_path, lambda frame: EncodedInstances.empty(frame.size))
    assert consistency(dataset, empty, flow_shard, tmp_path)["TC"] == -1


def test_true_tracks_score_one(dataset, truth, prepared, tmp_path):
    results = []
    for entry in truth["annotations"]:
        masks = tuple(entry["segmentations"])
        track = Track(dataset.class_index(entry["category_id"]), 0.9, masks, tuple(m and 0.9 for m in masks))
        results += tracks_to_results(entry["video_id"], [track], [category.id for category in dataset.categories])
    write_results(tmp_path / "tracks.json", results)
    score_tracks(tmp_path / "tracks.json", prepared / "ground_truth_val.json", SETTINGS, tmp_path / "m.json")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert [metrics[key] for key in ("mAP", "AP50", "AP75", "AR10")] == pytest.approx([1.0] * 4)
    assert metrics["intervals"]["mAP"] == [1.0, 1.0]
    assert metrics["bootstrap"] == {"resamples": 40, "confidence": 0.9, "seed": 3}
    assert metrics["precision_recall"]["mean"]["AP50"] == [1.0] * 101


def test_no_resamples_give_no_intervals(prepared, tmp_path):
    write_results(tmp_path / "tracks.json", [])
    settings = EvaluationSettings(bootstrap_resamples=0)
    score_tracks(tmp_path / "tracks.json", prepared / "ground_truth_val.json", settings, tmp_path / "m.json")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["mAP"] == 0.0 and "intervals" not in metrics


def test_tracking_perfect_frames_scores_high(dataset, perfect, flow_shard, prepared, tmp_path):
    track_instances(dataset, [perfect], [flow_shard], TrackingSettings(), tmp_path / "tracks.json")
    score_tracks(tmp_path / "tracks.json", prepared / "ground_truth_val.json", SETTINGS, tmp_path / "m.json")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["AP50"] > 0.8 and np.isfinite(metrics["mAP"])


def test_missing_and_unusable_files_are_named(dataset, perfect, prepared, tmp_path):
    with pytest.raises(WsvisError) as caught:
        score_tracks(tmp_path / "t.json", tmp_path / "gt.json", SETTINGS, tmp_path / "m.json")
    assert str(caught.value) == f"{tmp_path / 'gt.json'} does not exist; it is made by rule prepare_dataset"
    (tmp_path / "t.json").write_text('[{"video_id": 0}]')
    with pytest.raises(WsvisError, match="video_id must be a whole number from 1, not 0"):
        score_tracks(tmp_path / "t.json", prepared / "ground_truth_val.json", SETTINGS, tmp_path / "m.json")
    assert not (tmp_path / "m.json").exists()
