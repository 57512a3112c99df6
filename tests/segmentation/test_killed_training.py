"""SIGTERM and SIGKILL at random moments of MaskConsist's training, round 0 and self-training, in real processes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wsvis_core.config import MaskconsistSettings, SelfTrainingSettings
from wsvis_core.datasets import VideoDataset
from wsvis_core.segmentation import train as module
from wsvis_core.segmentation.train import train_maskconsist
from wsvis_core.storage.files import load_tensors
from wsvis_core.training.loop import Run

KILLS = 5
SETTINGS = MaskconsistSettings(
    backbone="resnet_tiny",
    backbone_weights="none",
    trainable_stages=5,
    iterations=40,
    lr=0.002,
    warmup_iterations=10,
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
# Round 0 learns from the labels as they are; later rounds filter predictions, here with two batches a step.
ROUNDS = {
    0: (SETTINGS, None),
    1: (SETTINGS.model_copy(update={"optimizer": "adamw", "lr": 0.001, "accumulate": 2}), SelfTrainingSettings()),
}


def train_round(
    folder: Path, number: int, dataset: VideoDataset, labels: Path, flow: Path, checkpoint_seconds: float
) -> None:
    """What a process of these tests does; it leaves a byte in `batches` for every batch it begins."""
    torch.set_num_threads(1)
    unpack = module._unpack

    def counted(*arguments):
        with open(folder / "batches", "ab") as stream:
            stream.write(b".")
        return unpack(*arguments)

    module._unpack = counted
    settings, self_training = ROUNDS[number]
    run = Run("toy", folder / "training", {}, 0, torch.device("cpu"), checkpoint_seconds=checkpoint_seconds)
    outputs = folder / "weights.pt", folder / "records.jsonl"
    try:
        train_maskconsist(dataset, [labels], [flow], None, settings, self_training, run, *outputs)
    finally:
        module._unpack = unpack


def begun(folder: Path) -> int:
    return (folder / "batches").stat().st_size if (folder / "batches").exists() else 0


def wait_for(condition: Callable[[], bool], alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert alive() and time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    return context


@pytest.fixture(scope="module", params=ROUNDS)
def undisturbed(request, dataset, perfect, flow_shard, tmp_path_factory) -> tuple[int, Path]:
    """A round, and the folder of its training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train_round(folder, request.param, dataset, perfect, flow_shard, 1000.0)
    return request.param, folder


# A killed process loses the steps after its last checkpoint, so there it writes one after every step.
@pytest.mark.parametrize(
    ("number", "exit_code", "checkpoint_seconds"), [(signal.SIGTERM, 143, 1000.0), (signal.SIGKILL, -9, 0.0)]
)
def test_five_signals_at_random_moments_change_no_bit(
    tmp_path, processes, undisturbed, dataset, perfect, flow_shard, number, exit_code, checkpoint_seconds
):
    which, whole = undisturbed
    moments = random.Random(100 * which + number)
    for attempt in range(KILLS + 1):
        process = processes.Process(
            target=train_round, args=(tmp_path, which, dataset, perfect, flow_shard, checkpoint_seconds)
        )
        before = begun(tmp_path)
        process.start()
        if attempt < KILLS:
            wait_for(lambda before=before: begun(tmp_path) > before, process.is_alive)
            time.sleep(moments.uniform(0, 0.05))
            os.kill(process.pid, number)
        process.join()
        assert process.exitcode == (exit_code if attempt < KILLS else 0)
    found, expected = (load_tensors(folder / "weights.pt")["model"] for folder in (tmp_path, whole))
    assert list(found) == list(expected)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    assert (tmp_path / "records.jsonl").read_bytes() == (whole / "records.jsonl").read_bytes()
    # SIGTERM loses no step, a kill at most the one at hand.
    lost = begun(tmp_path) - begun(whole)
    assert 0 <= lost <= (KILLS * ROUNDS[which][0].accumulate if number == signal.SIGKILL else 0)
    assert not (tmp_path / "training").exists()
