"""A tiny generated data set, prepared once per test process, and the stage-1 artefacts made from it on demand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from wsvis_core.cam.infer import extract_cam
from wsvis_core.cam.train import train_cam
from wsvis_core.config import CamSettings, FBoundSettings, FCamSettings, FlowirnSettings, FlowSettings, LabelMapSettings
from wsvis_core.datasets import SyntheticSettings, Video, VideoDataset, prepare_dataset, write_dataset
from wsvis_core.flow.infer import extract_flow
from wsvis_core.flowirn.label_map_shards import make_label_maps
from wsvis_core.flowirn.train import train_flowirn
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, to_columns
from wsvis_core.storage.rle import decode_mask
from wsvis_core.storage.shards import write_shard
from wsvis_core.training.loop import Run

# Tiny arrays gain nothing from threads, and threads of several test processes wait for each other.
torch.set_num_threads(1)
cv2.setNumThreads(1)


@pytest.fixture(autouse=True)
def settings_of_the_process():
    """What a job sets for its whole process is undone: a test process has many jobs, and hypothesis needs denormals."""
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """The machine's own browser, one per test process; playwright's download of one is not needed."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium or Chrome on this machine (Debian: apt install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    # Chromium refuses to run as root in its sandbox.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts an empty file system of a size ("1m") and gives its folder; skips where that is not allowed."""
    mounted = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk_{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("a full disk needs a file system of its own; there is no `mount` here")
        if done.returncode != 0:
            pytest.skip(f"a full disk needs a file system of its own; mounting one failed: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass(frozen=True)
class SmallDisk:
    """A file system of 1 MiB."""

    folder: Path

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.folder).free

    @contextmanager
    def filled(self, leave: int = 0) -> Iterator[None]:
        """Meanwhile only `leave` bytes are free; afterwards there is room again."""
        ballast = self.folder / "ballast"
        ballast.write_bytes(bytes(self.free - leave))
        yield
        ballast.unlink()


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> SmallDisk:
    return SmallDisk(mount_disk("1m"))


# Video 3 has one frame; video 4 starts with frames without any object.
TINY = SyntheticSettings(num_videos=6, frames_per_video=4, height=48, width=80, seed=3, one_frame_video=2)
LONG_SIDE = 80
CPU = torch.device("cpu")


@dataclass(frozen=True)
class TinySettings:
    """Settings with which every stage-1 step takes about a second on the tiny set."""

    cam: CamSettings = CamSettings(
        backbone="resnet_tiny",
        backbone_weights="none",
        output_stride=8,
        frozen_stages=0,
        epochs=4,
        batch_size=4,
        optimizer="adamw",
        lr=0.002,
        head_lr_multiplier=1,
        resize_long=(72, 88),
        crop=64,
        scales=(1.0, 0.75),
    )
    flow: FlowSettings = FlowSettings(preset="fast", store_short_side=24)
    f_cam: FCamSettings = FCamSettings()
    label_maps: LabelMapSettings = LabelMapSettings(crf="none")
    flowirn: FlowirnSettings = FlowirnSettings(
        backbone="resnet_tiny",
        backbone_weights="cam",
        output_stride=8,
        branch_width=0.25,
        radius=4,
        epochs=0.5,
        batch_size=4,
        crop=64,
    )
    f_bound: FBoundSettings = FBoundSettings()


@dataclass(frozen=True)
class Stage1:
    """Stage-1 artefacts of the tiny set; one shard of each holds all videos."""

    dataset: VideoDataset
    settings: TinySettings
    flow: Path
    cam_weights: Path
    cam_records: Path
    cams: Path
    label_maps: Path


def cpu_run(folder: Path, name: str, **options) -> Run:
    """A training run on the CPU with its checkpoints under `folder`."""
    return Run(name=name, folder=folder / f"{name}_training", settings={}, seed=0, device=CPU, **options)


@pytest.fixture(scope="session")
def make_run():
    return cpu_run


@pytest.fixture(scope="session")
def tiny_settings() -> TinySettings:
    return TinySettings()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the prepared tiny set; every video is in both splits. Do not write into it."""
    folder = tmp_path_factory.mktemp("prepared")
    write_dataset(folder / "set", TINY)
    prepare_dataset(folder / "set", folder / "dataset", name="tiny", split_mode="all")
    return folder / "dataset"


@pytest.fixture(scope="session")
def dataset(prepared: Path) -> VideoDataset:
    return VideoDataset.load(prepared)


@pytest.fixture(scope="session")
def flow_shard(dataset: VideoDataset, tiny_settings: TinySettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flow") / "shard-train-000.h5"
    extract_flow(dataset, dataset.videos, path, tiny_settings.flow, digest_of={})
    return path


@pytest.fixture(scope="session")
def stage1(
    dataset: VideoDataset, flow_shard: Path, tiny_settings: TinySettings, tmp_path_factory: pytest.TempPathFactory
) -> Stage1:
    """The tiny set up to its label maps."""
    folder = tmp_path_factory.mktemp("stage1")
    weights, records = folder / "cam.pt", folder / "cam.jsonl"
    cams, label_maps = folder / "cams.h5", folder / "label_maps.h5"
    s, videos = tiny_settings, dataset.videos
    train_cam(dataset, s.cam, cpu_run(folder, "train_cam"), weights, records)
    extract_cam(dataset, videos, weights, cams, s.cam, long_side=LONG_SIDE, device=CPU, digest_of={})
    make_label_maps(dataset, videos, cams, flow_shard, label_maps, s.label_maps, s.f_cam, digest_of={})
    return Stage1(dataset, s, flow_shard, weights, records, cams, label_maps)


@pytest.fixture(scope="session")
def irn_weights(stage1: Stage1, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An IRNet trained for a few steps on the tiny set."""
    folder = tmp_path_factory.mktemp("irn")
    train_flowirn(
        stage1.dataset,
        [stage1.label_maps],
        [stage1.flow],
        stage1.cam_weights,
        stage1.settings.flowirn,
        stage1.settings.f_bound,
        1.0,
        cpu_run(folder, "train_flowirn"),
        folder / "irn.pt",
        folder / "irn.jsonl",
    )
    return folder / "irn.pt"


@pytest.fixture(scope="session")
def truth(prepared: Path) -> dict[str, Any]:
    """Ground truth of the whole tiny set."""
    return json.loads((prepared / "ground_truth_val.json").read_text())


def true_frame(dataset: VideoDataset, truth: dict[str, Any], video: Video, t: int) -> EncodedInstances:
    """The annotated objects of a frame as detections, each with a vector that names it."""
    tracks = [entry for entry in truth["annotations"] if entry["video_id"] == video.id]
    seen = [(i, entry) for i, entry in enumerate(tracks) if entry["segmentations"][t] is not None]
    if not seen:
        return EncodedInstances.empty((video.height, video.width))
    masks = torch.from_numpy(np.stack([decode_mask(entry["segmentations"][t]) for _, entry in seen]))
    classes = torch.tensor([dataset.class_index(entry["category_id"]) for _, entry in seen])
    made = InstanceSet.from_masks(masks, classes, torch.full((len(seen),), 0.9))
    vectors = torch.eye(8)[[i for i, _ in seen]]
    return EncodedInstances.encode(InstanceSet(made.masks, made.boxes_xyxy, made.classes, made.scores, vectors))


@pytest.fixture(scope="session")
def perfect(dataset: VideoDataset, truth: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions that are the ground truth, frame by frame."""
    path = tmp_path_factory.mktemp("perfect") / "predictions.h5"
    write_shard(
        path,
        kind=KIND,
        videos=dataset.videos,
        make_columns=lambda video: to_columns([true_frame(dataset, truth, video, t) for t in range(len(video))]),
        settings={},
    )
    return path
