"""The trainer and the predictor with the detectron2 backend: nothing around it knows which backend it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from wsvis_core.config import MaskconsistSettings, PredictionSettings
from wsvis_core.segmentation import train as module
from wsvis_core.segmentation.predict import predict_masks
from wsvis_core.segmentation.train import train_maskconsist
from wsvis_core.storage.instance_shards import open_instances

pytest.importorskip("detectron2", reason="detectron2 is not installed (docs/detectron2.md)")

SETTINGS = MaskconsistSettings(
    backend="detectron2",
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


def train(stage1, labels, run, folder) -> bytes:
    """Train in `folder`; the bytes of weights and records."""
    outputs = folder / "w.pt", folder / "r.jsonl"
    train_maskconsist(stage1.dataset, [labels], [stage1.flow], stage1.cam_weights, SETTINGS, None, run, *outputs)
    return b"".join(path.read_bytes() for path in outputs)


@pytest.fixture(scope="module")
def trained(stage1, perfect, make_run, tmp_path_factory):
    """Folder of a run of three steps on perfect labels."""
    folder = tmp_path_factory.mktemp("detectron2")
    train(stage1, perfect, make_run(folder, "x"), folder)
    return folder


def test_the_records_have_the_names_of_the_other_backend(trained):
    records = [json.loads(line) for line in (trained / "r.jsonl").read_text().splitlines()]
    assert {key for key in records[0] if key.startswith("loss_")} == {
        "loss_objectness",
        "loss_rpn_box_reg",
        "loss_classifier",
        "loss_box_reg",
        "loss_mask",
    }
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
    assert train(stage1, perfect, run, tmp_path) == (trained / "w.pt").read_bytes() + (trained / "r.jsonl").read_bytes()


def test_predictions_fit_the_frames(stage1, trained, tmp_path):
    prediction = PredictionSettings(short_side=48, max_detections=10, score_threshold=0.02)
    videos, output = stage1.dataset.videos, tmp_path / "p.h5"
    device = torch.device("cpu")
    predict_masks(stage1.dataset, videos, trained / "w.pt", output, SETTINGS, prediction, device=device, digest_of={})
    reader, total = open_instances([output]), 0
    for video in videos:
        for frame in reader.video(video.id):
            assert frame.size == (48, 80) and len(frame) <= 10
            assert (np.diff(frame.scores) <= 0).all() and (frame.scores >= 0.02).all()
            assert len(frame) == 0 or np.allclose(np.linalg.norm(frame.appearance, axis=1), 1, atol=1e-2)
            total += len(frame)
    assert total > 0
