"""Train the frame classifier on frame-level class labels (§1.2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsvis_core.cam.imagenet_head import begin_with_imagenet
from wsvis_core.cam.network import build_cam_net
from wsvis_core.config import CamSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.errors import WsvisError
from wsvis_core.images import PAD_COLOUR, random_crop_window, resize_image, scaled_size, to_tensor
from wsvis_core.training.device import autocast, memory_format
from wsvis_core.training.loop import Run, StepResult, finish, train
from wsvis_core.training.randomness import batch_indices, batches_per_epoch, generator
from wsvis_core.training.schedules import build_optimizer, polynomial


@dataclass(frozen=True)
class CamBatch:
    """images (B,3,S,S) normalised, labels (B,C) 0/1, and the frames they come from."""

    images: Tensor
    labels: Tensor
    frames: tuple[str, ...]


def train_cam(dataset: VideoDataset, settings: CamSettings, run: Run, weights: Path, records: Path) -> None:
    """Train on every frame of the training split (frames without a class are negatives) and write the weights."""
    frames = [(video, index) for video in dataset.split("train") for index in range(len(video))]
    labels = {video.id: dataset.class_labels(video) for video in dataset.split("train")}
    if not any(rows.any() for rows in labels.values()):
        raise WsvisError("no training frame has a class label; check the annotations of the training split")
    iterations = max(round(settings.epochs * batches_per_epoch(len(frames), settings.batch_size)), 1)
    torch.manual_seed(run.seed)
    model = build_cam_net(settings, len(dataset.categories), pretrained=True)
    model = model.to(run.device, memory_format=memory_format(run.device))
    if settings.initial_head == "imagenet":
        begin_with_imagenet(model, dataset, frames, labels, settings, run.device)
    groups = [
        {"params": model.backbone_parameters(), "lr": settings.lr},
        {"params": model.head_parameters(), "lr": settings.lr * settings.head_lr_multiplier},
    ]

    def make_batch(iteration: int) -> CamBatch:
        chosen = batch_indices(len(frames), settings.batch_size, iteration, run.seed, "cam")
        rng = generator(run.seed, "cam", iteration)
        return _make_batch(dataset, [frames[i] for i in chosen], labels, settings, rng)

    def step(batch: CamBatch, iteration: int) -> StepResult:
        with autocast(run.device, settings.precision):
            logits = model(batch.images.to(run.device, memory_format=memory_format(run.device))).float()
        target = batch.labels.to(run.device)
        hits = ((logits > 0) == (target > 0.5)).float().mean()
        return StepResult({"class": F.multilabel_soft_margin_loss(logits, target)}, {"accuracy": float(hits)})

    train(
        run,
        model,
        build_optimizer(settings.optimizer, groups, momentum=settings.momentum, weight_decay=settings.weight_decay),
        polynomial(iterations, settings.poly_power),
        iterations=iterations,
        make_batch=make_batch,
        step=step,
        describe_batch=lambda batch: ", ".join(batch.frames),
    )
    finish(run, weights, records, {"model": model.state_dict(), "backbone": model.backbone.state_dict()})


def _make_batch(
    dataset: VideoDataset,
    frames: list[tuple[Video, int]],
    labels: dict[int, np.ndarray],
    settings: CamSettings,
    rng: np.random.Generator,
) -> CamBatch:
    images = [_augment(dataset.read_frame(video, index), settings, rng) for video, index in frames]
    rows = np.stack([labels[video.id][index] for video, index in frames])
    names = tuple(video.frames[index].file_name for video, index in frames)
    return CamBatch(torch.stack(images), torch.from_numpy(rows).float(), names)


def _augment(image: np.ndarray, settings: CamSettings, rng: np.random.Generator) -> Tensor:
    """Random long side, random mirror, random crop (§1.2)."""
    low, high = settings.resize_long
    image = resize_image(image, scaled_size(*image.shape[:2], int(rng.integers(low, high + 1))))
    if rng.random() < 0.5:
        image = image[:, ::-1]
    window = random_crop_window(*image.shape[:2], settings.crop, rng)
    return to_tensor(window.apply(image, PAD_COLOUR))
