from __future__ import annotations

import dataclasses
import json
import logging
from functools import partial

import numpy as np
import pytest
import torch

from wsvis_core.config import MaskconsistSettings, PredictionSettings, SelfTrainingSettings
from wsvis_core.errors import WsvisError
from wsvis_core.flow.load import FlowReader
from wsvis_core.flow.warp import flip_flow_horizontal, warp_masks
from wsvis_core.mask_ops import mask_iou
from wsvis_core.segmentation import train as module
from wsvis_core.segmentation.build import segmenter_from_settings, transfer_from_settings
from wsvis_core.segmentation.predict import predict_masks
from wsvis_core.segmentation.train import StageOneLabels, describe_batch_and_rate, labelled_pairs, train_maskconsist
from wsvis_core.storage.files import load_tensors
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, open_instances, to_columns
from wsvis_core.storage.shards import ShardReader, write_shard
from wsvis_core.training import loop
from wsvis_core.training.processes import train_together

CPU = torch.device("cpu")
SETTINGS = MaskconsistSettings(
    backbone="resnet_tiny",
    backbone_weights="cam",
    trainable_stages=5,
    iterations=3,
    optimizer="adamw",
    lr=0.001,
    warmup_iterations=0,
    grad_clip=5,
    short_side=48,
    fpn_channels=16,
    representation_size=32,
    box_layers=1,
    mask_channels=16,
    mask_layers=1,
    head_norm="group",
    anchor_sizes=(16, 24, 32, 48, 64),
    roi_canonical_size=64,
    rpn_batch=32,
    roi_batch=16,
    pre_nms=(60, 40),
    post_nms=(40, 30),
    max_detections=10,
)
PREDICTION = PredictionSettings(short_side=48, max_detections=10, score_threshold=0.02)


def train(stage1, labels, run, folder, *, self_training=None, settings=SETTINGS, dataset=None) -> bytes:
    """Train in `folder`; the bytes of weights and records."""
    outputs = folder / "w.pt", folder / "r.jsonl"
    train_maskconsist(
        dataset or stage1.dataset,
        [labels],
        [stage1.flow],
        stage1.cam_weights,
        settings,
        self_training,
        run,
        *outputs,
    )
    return b"".join(path.read_bytes() for path in outputs)


@pytest.fixture(scope="module")
def trained(stage1, perfect, make_run, tmp_path_factory):
    """Folder of a run of three steps on perfect labels."""
    folder = tmp_path_factory.mktemp("maskconsist")
    train(stage1, perfect, make_run(folder, "x"), folder)
    return folder


def test_two_processes_have_the_loss_curve_of_one(stage1, perfect, make_run, tmp_path):
    settings = SETTINGS.model_copy(update={"iterations": 20, "accumulate": 2})
    curves, weights = [], []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        one = partial(
            train_maskconsist,
            stage1.dataset,
            [perfect],
            [stage1.flow],
            stage1.cam_weights,
            settings,
            None,
            weights=folder / "w.pt",
            records=folder / "r.jsonl",
        )
        train_together(one, make_run(folder, "x", processes=processes), shares=settings.accumulate)
        curves.append([json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()])
        weights.append(load_tensors(folder / "w.pt")["model"])
    assert len(curves[0]) == 20 and curves[0][0]["loss"] > curves[0][-1]["loss"]
    for alone, shared in zip(*curves, strict=True):
        assert shared == pytest.approx(alone, abs=1e-4)
    # Batch norm has the statistics of the leading process's batches.
    learnt = [name for name in weights[0] if "running_" not in name and "num_batches" not in name]
    for name in learnt:
        assert torch.allclose(weights[0][name], weights[1][name], atol=1e-4), name


def test_every_learnt_weight_has_a_gradient_in_half_precision(stage1, perfect, make_run, tmp_path, monkeypatch):
    """A weight that autocast first used without graph, in the predictions, must not stay without it in the losses."""
    reached, check = [], loop._clip_finite

    def spy(model, *others):
        reached.append([name for name, p in model.named_parameters() if p.requires_grad and p.grad is None])
        assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())
        return check(model, *others)

    monkeypatch.setattr(loop, "_clip_finite", spy)
    settings = SETTINGS.model_copy(update={"precision": "bfloat16", "score_threshold": 0.0})
    train(stage1, perfect, make_run(tmp_path, "x"), tmp_path, settings=settings)
    assert reached == [[], [], []]
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert all(row["predictions"] > 0 for row in rows)
    assert all(value.dtype != torch.bfloat16 for value in load_tensors(tmp_path / "w.pt")["model"].values())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"optimizer": "sgd", "lr": 0.002, "accumulate": 4},
            "a step has 8 images (accumulate 4 × pairs_per_step 1 × 2); lr 0.002 as configured, never scaled by "
            "itself; the linear rule gives 0.008 (0.002 for 2 images), so this is 0.25 times the rule",
        ),
        (
            {"pairs_per_step": 2},
            "a step has 4 images (accumulate 1 × pairs_per_step 2 × 2); lr 0.001 as configured, never scaled by "
            "itself; the linear rule is one for SGD, not for adamw",
        ),
    ],
)
def test_the_log_says_what_the_linear_rule_gives(changes, expected):
    assert describe_batch_and_rate(SETTINGS.model_copy(update=changes)) == expected


def predict(stage1, weights, output, dataset=None, prediction=PREDICTION):
    dataset = dataset or stage1.dataset
    predict_masks(dataset, dataset.videos, weights, output, SETTINGS, prediction, device=CPU, digest_of={})


def test_losses_are_recorded(trained):
    records = [json.loads(line) for line in (trained / "r.jsonl").read_text().splitlines()]
    assert [record["iteration"] for record in records] == [0, 1, 2]
    assert sum(key.startswith("loss_") for key in records[0]) >= 5
    assert all(np.isfinite(value) for record in records for value in record.values())


def test_a_run_in_two_pieces_equals_one(stage1, perfect, trained, make_run, tmp_path, monkeypatch):
    load, calls = module._unpack, []

    def breaks_once(batch, device):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return load(batch, device)

    monkeypatch.setattr(module, "_unpack", breaks_once)
    run = make_run(tmp_path, "x", checkpoint_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(stage1, perfect, run, tmp_path)
    assert not (tmp_path / "w.pt").exists()
    whole = (trained / "w.pt").read_bytes() + (trained / "r.jsonl").read_bytes()
    assert train(stage1, perfect, run, tmp_path) == whole


def test_workers_and_seed(stage1, perfect, trained, make_run, tmp_path):
    whole = (trained / "w.pt").read_bytes() + (trained / "r.jsonl").read_bytes()
    assert train(stage1, perfect, make_run(tmp_path / "a", "x", workers=1), tmp_path / "a") == whole
    other = dataclasses.replace(make_run(tmp_path / "b", "x"), seed=1)
    assert train(stage1, perfect, other, tmp_path / "b") != whole


def test_predictions_fit_the_frames_and_are_the_same_twice(stage1, trained, tmp_path):
    for name in ("a", "b"):
        predict(stage1, trained / "w.pt", tmp_path / f"{name}.h5")
    reader, total = open_instances([tmp_path / "a.h5"]), 0
    for video in stage1.dataset.videos:
        frames = reader.video(video.id)
        assert len(frames) == len(video)
        for frame in frames:
            assert frame.size == (48, 80) and len(frame) <= 10
            assert (np.diff(frame.scores) <= 0).all() and (frame.scores >= 0.02).all()
            assert set(frame.classes) <= set(range(stage1.dataset.num_classes))
            assert frame.appearance is None or np.allclose(np.linalg.norm(frame.appearance, axis=1), 1, atol=1e-2)
            total += len(frame)
    assert total > 0
    shards = [ShardReader([tmp_path / f"{name}.h5"], kind=KIND) for name in ("a", "b")]
    for video in stage1.dataset.videos:
        assert len({shard.columns(video.id).attrs["content_digest"] for shard in shards}) == 1


def test_predictions_keep_to_the_labels_of_training_videos(stage1, trained, tmp_path):
    """Held-out videos have the predictions of a run that knows no labels, byte for byte."""
    free = PREDICTION.model_copy(update={"given_labels": False})
    train, held_out = stage1.dataset.videos[:3], stage1.dataset.videos[3:]
    splits = {"train": tuple(v.id for v in train), "val": tuple(v.id for v in held_out)}
    sampled = dataclasses.replace(stage1.dataset, splits=splits)
    paths = [tmp_path / name for name in ("given.h5", "free.h5")]
    for path, chosen in zip(paths, (PREDICTION, free), strict=True):
        predict(stage1, trained / "w.pt", path, sampled, chosen)
    readers = [open_instances([path]) for path in paths]
    wrong = []
    for video in train:
        for t, label in enumerate(stage1.dataset.class_labels(video)):
            given, unknown = (reader.frame(video.id, t).classes for reader in readers)
            assert label[given].all() and (label.any() or len(given) == 0)
            wrong += (~label[unknown]).tolist()
    assert any(wrong)
    digests = [
        [ShardReader([path], kind=KIND).columns(v.id).attrs["content_digest"] for v in held_out] for path in paths
    ]
    assert digests[0] == digests[1]


def test_a_self_training_round_learns_from_predictions(stage1, perfect, trained, make_run, tmp_path):
    rounds = SelfTrainingSettings(score_threshold=0.5)
    later = train(stage1, perfect, make_run(tmp_path, "x"), tmp_path, self_training=rounds)
    assert len(later) > 0 and (tmp_path / "w.pt").exists()
    # Labels of a later round: confident, of the frame's classes, all with score 1 or their own; perfect ones stay.
    video = stage1.dataset.videos[0]
    plain, filtered = (StageOneLabels(open_instances([perfect]), stage1.dataset, item) for item in (None, rounds))
    assert torch.equal(
        plain.frame(video, 0).masks.sum((1, 2)).sort().values, filtered.frame(video, 0).masks.sum((1, 2)).sort().values
    )
    strict = StageOneLabels(
        open_instances([perfect]),
        stage1.dataset,
        SelfTrainingSettings(score_threshold=0.95, fallback_threshold=0.95),
    )
    assert len(strict.frame(video, 0)) == 0


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_pair_carries_both_flows_in_their_own_direction(stage1, perfect, flip):
    video, flow = max(stage1.dataset.videos, key=len), FlowReader([stage1.flow])
    labels = StageOneLabels(open_instances([perfect]), stage1.dataset, None)
    settings = SETTINGS.model_copy(update={"flip": flip})
    pair = module._load_pair(stage1.dataset, labels, flow, video, 1, settings, torch.Generator().manual_seed(0))
    flow_ts, flow_st = flow.pair(video.id, 1, (48, 80))
    masks = [labels.frame(video, t).masks for t in (1, 2)]
    if flip:
        flow_ts, flow_st = flip_flow_horizontal(flow_ts), flip_flow_horizontal(flow_st)
        masks = [item.flip(-1) for item in masks]
    assert torch.equal(pair.flow_ts, flow_ts) and torch.equal(pair.flow_st, flow_st)
    assert not torch.equal(pair.flow_ts, pair.flow_st)
    assert all(torch.equal(item.masks, mask) for item, mask in zip(pair.labels, masks, strict=True))
    # Masks of t come nearer to those of s with the flow that lives on s.
    right, wrong = (mask_iou(warp_masks(masks[0], f), masks[1]).diagonal().mean() for f in (flow_st, flow_ts))
    assert right > wrong


def pairs(stage1, shard):
    labels = StageOneLabels(open_instances([shard]), stage1.dataset, None)
    return labelled_pairs(stage1.dataset, labels, FlowReader([stage1.flow]))


def test_pairs_need_a_label_on_either_frame(stage1, perfect):
    found = {(video.id, t) for video, t in pairs(stage1, perfect)}
    expected = set()
    for video in stage1.dataset.split("train"):
        present = stage1.dataset.class_labels(video).any(axis=1)
        expected |= {(video.id, t) for t in range(len(video) - 1) if present[t] or present[t + 1]}
    assert found == expected and len(found) == 14  # five videos of three pairs; one pair shows nothing


def test_pairs_too_far_apart_in_time_are_left_out_and_counted(stage1, perfect, caplog):
    class FirstPairTooFar:
        def pair_valid(self, video_id):
            return [False, True, True] if video_id == 1 else FlowReader([stage1.flow]).pair_valid(video_id)

    caplog.set_level(logging.INFO)
    labels = StageOneLabels(open_instances([perfect]), stage1.dataset, None)
    found = labelled_pairs(stage1.dataset, labels, FirstPairTooFar())
    assert [t for video, t in found if video.id == 1] == [1, 2] and len(found) == 13
    expected = "13 frame pairs to learn from; left out: 1 without a label, 1 too far apart in time"
    assert caplog.messages == [expected]


def test_no_label_at_all_is_told(stage1, tmp_path):
    write_shard(
        tmp_path / "none.h5",
        kind=KIND,
        videos=stage1.dataset.videos,
        make_columns=lambda v: to_columns([EncodedInstances.empty((v.height, v.width))] * len(v)),
        settings={},
    )
    with pytest.raises(WsvisError, match="no pair of training frames has a stage-1 label: look at the pseudo-labels"):
        pairs(stage1, tmp_path / "none.h5")


def test_all_switches_off_is_a_plain_mask_rcnn():
    off = {"intra_frame": False, "inter_frame": False, "iom_nms": False}
    assert transfer_from_settings(SETTINGS.model_copy(update=off)) is None
    for switch in off:
        transfer = transfer_from_settings(SETTINGS.model_copy(update=off | {switch: True}))
        assert [getattr(transfer, name) for name in off] == [name == switch for name in off]


def test_prediction_settings_replace_those_of_training():
    def thresholds(prediction):
        made = segmenter_from_settings(SETTINGS, 4, weights="none", prediction=prediction)
        heads = next(module for module in made.modules() if hasattr(module, "detections_per_img"))
        return heads.score_thresh, heads.detections_per_img

    assert thresholds(None) == (0.05, 10)
    assert thresholds(PredictionSettings(score_threshold=0.02, max_detections=7)) == (0.02, 7)
