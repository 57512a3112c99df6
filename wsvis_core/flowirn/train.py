"""Train an IRNet on label maps and flow (§1.7–1.8, §2.2); on one GPU at most: IRN is known to collapse on several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from wsvis_core.backbones import build_backbone, norm_for
from wsvis_core.config import FBoundSettings, FlowirnSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.errors import WsvisError
from wsvis_core.flow.camera import residual_flow
from wsvis_core.flow.load import FlowReader
from wsvis_core.flow.warp import flip_flow_horizontal, resize_flow
from wsvis_core.flowirn.flow_gradient import boundary_by_motion, flow_at_cells, scaled_flow_gradient
from wsvis_core.flowirn.label_map_shards import LabelMapReader
from wsvis_core.flowirn.losses import downsample_labels, flow_boundary_loss, irn_losses, pair_affinity
from wsvis_core.flowirn.network import OUTPUT_STRIDE, IRNet
from wsvis_core.flowirn.paths import reach
from wsvis_core.images import PAD_COLOUR, random_crop_window, resize_image, scaled_by, to_tensor
from wsvis_core.training.device import autocast, memory_format
from wsvis_core.training.loop import Run, StepResult, finish, train
from wsvis_core.training.randomness import batch_indices, batches_per_epoch, generator
from wsvis_core.training.schedules import build_optimizer, polynomial

IGNORED_LABEL = 255
# Only differences of displacements are supervised; their mean is measured on at most this many frames, evenly spaced.
MEAN_DISPLACEMENT_FRAMES = 512


@dataclass(frozen=True)
class TrainingFrames:
    """Where the training examples come from: frames with a class label, their label maps and flow."""

    dataset: VideoDataset
    label_maps: LabelMapReader
    flow: FlowReader
    frames: tuple[tuple[Video, int], ...]
    irnet_scale: float = 1.0


@dataclass(frozen=True)
class IrnBatch:
    """images (B,3,S,S) · labels (B,S,S) uint8 · flow (B,2,S,S) · flow_valid (B,S,S) bool · frame names."""

    images: Tensor
    labels: Tensor
    flow: Tensor
    flow_valid: Tensor
    frames: tuple[str, ...]


def build_irnet(settings: FlowirnSettings, *, weights: str) -> IRNet:
    """The network of a config; `weights` as in `build_backbone`."""
    norm = norm_for(settings.backbone_weights, "frozen_batch")
    backbone = build_backbone(settings.backbone, output_stride=settings.output_stride, weights=weights, norm=norm)
    return IRNet(backbone, width=settings.branch_width, train_backbone=settings.train_backbone)


def train_flowirn(
    dataset: VideoDataset,
    label_maps: Sequence[Path],
    flow: Sequence[Path],
    cam_weights: Path | None,
    settings: FlowirnSettings,
    f_bound: FBoundSettings,
    irnet_scale: float,
    run: Run,
    weights: Path,
    records: Path,
) -> None:
    """Train on every training frame that has a class label, measure the mean displacement, write the weights.

    cam_weights: needed for backbone_weights "cam" only.
    irnet_scale: frames are this much larger here than the label maps, on top of the random rescale.
    """
    _check_crop(settings)
    source = _training_frames(dataset, LabelMapReader(label_maps), FlowReader(flow), irnet_scale)
    count = len(source.frames)
    iterations = max(round(settings.epochs * batches_per_epoch(count, settings.batch_size)), 1)
    torch.manual_seed(run.seed)
    initial = str(cam_weights) if settings.backbone_weights == "cam" else settings.backbone_weights
    model = build_irnet(settings, weights=initial).to(run.device, memory_format=memory_format(run.device))
    groups = [
        {"params": list(model.boundary_parameters()), "lr": settings.lr},
        {
            "params": list(model.displacement_parameters()),
            "lr": settings.lr * settings.displacement_lr_multiplier,
        },
    ]

    def make_batch(iteration: int) -> IrnBatch:
        chosen = batch_indices(count, settings.batch_size, iteration, run.seed, "flowirn")
        return _make_batch(source, chosen, settings, f_bound, generator(run.seed, "flowirn", iteration))

    def step(batch: IrnBatch, iteration: int) -> StepResult:
        return irn_step(model, batch, settings, f_bound, len(dataset.categories), run.device)

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
    model.mean_displacement.copy_(measure_mean_displacement(model, source, settings.crop, run.device))
    finish(run, weights, records, {"model": model.state_dict()})


def _check_crop(settings: FlowirnSettings) -> None:
    """A crop must be wider than the neighbourhood on both sides of a cell, or no pair of cells is left."""
    smallest = OUTPUT_STRIDE * (2 * reach(settings.radius) + 1)
    if settings.crop < smallest:
        raise WsvisError(
            f"flowirn.crop = {settings.crop} is too small for flowirn.radius = {settings.radius:g}: no pair of cells "
            f"fits; set crop to at least {smallest} or lower the radius"
        )


def irn_step(
    model: IRNet,
    batch: IrnBatch,
    settings: FlowirnSettings,
    f_bound: FBoundSettings,
    num_classes: int,
    device: torch.device,
) -> StepResult:
    """L_IRN (halves, §1.7) plus w_F·L_F^B (§2.2) of one batch, and means of the boundary to watch."""
    with autocast(device, settings.precision):
        logits, displacement = model(batch.images.to(device, memory_format=memory_format(device)))
    boundary, displacement = logits[:, 0].float().sigmoid(), displacement.float()
    labels = downsample_labels(batch.labels.to(device))
    affinity = pair_affinity(boundary, settings.radius)
    losses = irn_losses(affinity, displacement, labels, num_classes=num_classes, radius=settings.radius)
    losses = {name: 0.5 * loss for name, loss in losses.items()}
    scalars = {"boundary_mean": float(boundary.detach().mean())}
    if f_bound.enabled:
        cells, valid = flow_at_cells(batch.flow.to(device), batch.flow_valid.to(device))
        losses["flow_boundary"] = flow_boundary_loss(
            affinity,
            cells,
            valid,
            labels,
            radius=settings.radius,
            num_classes=num_classes,
            **f_bound.model_dump(exclude={"enabled", "flow_units", "flow_value_scale", "camera"}),
        )
        names = {"fprime", "difference", "gradient_scale", "quantile", "quantile_value"}
        gradient, usable = scaled_flow_gradient(cells, valid, **f_bound.model_dump(include=names))
        scalars |= boundary_by_motion(boundary.detach(), gradient, usable, limit=f_bound.lambda_)
    return StepResult(losses, scalars)


def _training_frames(
    dataset: VideoDataset, label_maps: LabelMapReader, flow: FlowReader, irnet_scale: float
) -> TrainingFrames:
    frames = [
        (video, index)
        for video in dataset.split("train")
        for index in np.flatnonzero(dataset.class_labels(video).any(axis=1)).tolist()
    ]
    if not frames:
        raise WsvisError("no training frame has a class label; check the annotations of the training split")
    return TrainingFrames(dataset, label_maps, flow, tuple(frames), irnet_scale)


def _make_batch(
    source: TrainingFrames,
    chosen: np.ndarray,
    settings: FlowirnSettings,
    f_bound: FBoundSettings,
    rng: np.random.Generator,
) -> IrnBatch:
    frames = [source.frames[i] for i in chosen]
    items = [_example(source, video, index, settings, f_bound, rng) for video, index in frames]
    images, labels, flows, valid = (torch.stack(column) for column in zip(*items, strict=True))
    names = tuple(video.frames[index].file_name for video, index in frames)
    return IrnBatch(images, labels, flows, valid, names)


def _example(
    source: TrainingFrames,
    video: Video,
    index: int,
    settings: FlowirnSettings,
    f_bound: FBoundSettings,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One augmented example: uniform rescale, mirror, random crop, the same for image, labels and flow (§1.8, §2.2)."""
    labels = source.label_maps.frame(video.id, index)
    rescale = rng.uniform(*settings.rescale)
    size = scaled_by(labels.shape, rescale * source.irnet_scale)
    image = resize_image(source.dataset.read_frame(video, index), size)
    labels = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)
    flow, valid = _training_flow(source.flow, video, index, size, rescale, f_bound)
    if rng.random() < 0.5:
        image, labels, flow = image[:, ::-1], labels[:, ::-1], flip_flow_horizontal(flow)
    window = random_crop_window(*size, settings.crop, rng)
    return (
        to_tensor(window.apply(image, PAD_COLOUR)),
        torch.from_numpy(window.apply(labels, IGNORED_LABEL)),
        torch.from_numpy(window.apply(flow.permute(1, 2, 0).numpy(), 0.0)).permute(2, 0, 1),
        torch.from_numpy(window.apply(np.full(size, valid), False)),
    )


def _training_flow(
    reader: FlowReader, video: Video, index: int, size: tuple[int, int], rescale: float, f_bound: FBoundSettings
) -> tuple[Tensor, bool]:
    """Flow per native frame at `size` (2,H,W), without the camera's if so set, in f-Bound's unit; is there any?

    "native": pixels of the original frame times the random rescale, whatever the working size; "working": pixels of
    the working frame times the rescale. Where only a further frame was at hand, flow is divided by its distance.
    """
    entry = reader.next_flow(video.id, index, (video.height, video.width))
    if not f_bound.enabled or entry.step == 0:
        return torch.zeros(2, *size), False
    resized = residual_flow(resize_flow(entry.flow, size), f_bound.camera)
    if f_bound.flow_units == "native":
        resized = resized * (rescale * video.width / size[1])
    return resized * (f_bound.flow_value_scale / entry.gap), True


@torch.no_grad()
def measure_mean_displacement(model: IRNet, source: TrainingFrames, crop: int, device: torch.device) -> Tensor:
    """Mean displacement (2,), order (y, x), over top-left crops of training frames, in inference mode (§1.8)."""
    model.eval()
    model.mean_displacement.zero_()
    step = -(-len(source.frames) // MEAN_DISPLACEMENT_FRAMES)
    total = torch.zeros(2, dtype=torch.float64)
    chosen = source.frames[::step]
    for video, index in chosen:
        size = scaled_by(source.label_maps.frame(video.id, index).shape, source.irnet_scale)
        image = resize_image(source.dataset.read_frame(video, index), size)[:crop, :crop]
        canvas = np.full((crop, crop, 3), PAD_COLOUR, np.uint8)
        canvas[: image.shape[0], : image.shape[1]] = image
        _, displacement = model(to_tensor(canvas)[None].to(device))
        total += displacement[0].mean(dim=(1, 2)).double().cpu()
    return (total / len(chosen)).float()
