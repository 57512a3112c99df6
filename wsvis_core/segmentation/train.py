"""Train a segmenter on frame pairs and stage-1 labels: Mask R-CNN or MaskConsist, round 0 or self-training (§3)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from wsvis_core.config import MaskconsistSettings, SelfTrainingSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.errors import WsvisError
from wsvis_core.flow.load import FlowReader
from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist.self_training import self_training_labels
from wsvis_core.segmentation.augment import FramePair, augment_pair
from wsvis_core.segmentation.build import segmenter_from_settings, transfer_from_settings
from wsvis_core.segmentation.interface import SegmenterBackend
from wsvis_core.segmentation.step import MaskConsistStep
from wsvis_core.segmentation.transfer_watch import TransferWatch
from wsvis_core.storage.instance_shards import InstanceReader, open_instances
from wsvis_core.training.device import autocast
from wsvis_core.training.loop import Run, StepResult, finish, train
from wsvis_core.training.randomness import batch_indices, torch_generator
from wsvis_core.training.schedules import build_optimizer, warmup_and_steps

log = logging.getLogger(__name__)
MOST_REPEATS = 8  # of a pair in one pass, `sampling: balanced`
LR_OF_A_PAIR = 0.002  # Paper: the rate. Paper silent: the images of a step (docs/method.md, 3.10).


@dataclass(frozen=True)
class StageOneLabels:
    """The labels a segmenter learns from: pseudo-labels as they are, or predictions of the round before (§3.11)."""

    instances: InstanceReader
    dataset: VideoDataset
    self_training: SelfTrainingSettings | None

    def exist(self, video: Video, index: int) -> bool:
        """Has the frame a label? Decodes no mask in round 0."""
        if self.self_training is None:
            return len(self.instances.frame(video.id, index)) > 0
        return len(self.frame(video, index)) > 0

    def frame(self, video: Video, index: int) -> InstanceSet:
        """Labels of one frame at its original size."""
        found = self.instances.frame(video.id, index).decode()
        if self.self_training is None:
            return found
        return self_training_labels(
            found,
            torch.from_numpy(self.dataset.class_labels(video)[index]),
            score_threshold=self.self_training.score_threshold,
            fallback_min=self.self_training.fallback_threshold,
            iom_threshold=self.self_training.iom_threshold,
        )


@dataclass(frozen=True)
class PairBatch:
    """k augmented pairs and the frames they come from."""

    pairs: tuple[FramePair, ...]
    frames: tuple[str, ...]


def train_maskconsist(
    dataset: VideoDataset,
    labels: Sequence[Path],
    flow: Sequence[Path],
    cam_weights: Path | None,
    settings: MaskconsistSettings,
    self_training: SelfTrainingSettings | None,
    run: Run,
    weights: Path,
    records: Path,
) -> None:
    """Train on pairs of annotated frames and write the weights.

    cam_weights: needed for backbone_weights "cam" only. self_training: None in round 0. Several processes
    (`training.processes.train_together`) may call it at once; the leading one writes.
    """
    source = StageOneLabels(open_instances(labels), dataset, self_training)
    flows = FlowReader(flow)
    pairs = labelled_pairs(dataset, source, flows)
    log.info("%s", describe_batch_and_rate(settings))
    torch.manual_seed(run.seed)
    initial = str(cam_weights) if settings.backbone_weights == "cam" else settings.backbone_weights
    segmenter = segmenter_from_settings(settings, len(dataset.categories), weights=initial).to(run.device)
    model = MaskConsistStep(
        segmenter,
        transfer_from_settings(settings),
        start_iteration=settings.start_iteration,
        empty_targets=settings.empty_targets,
    )

    drawn = [pairs[i] for i in pair_order(dataset, pairs, settings.sampling)]

    def make_batch(iteration: int) -> PairBatch:
        chosen = [drawn[i] for i in batch_indices(len(drawn), settings.pairs_per_step, iteration, run.seed, "pairs")]
        rng = torch_generator(run.seed, "pairs", iteration)
        items = tuple(_load_pair(dataset, source, flows, video, t, settings, rng) for video, t in chosen)
        return PairBatch(items, tuple(video.frames[t].file_name for video, t in chosen))

    def step(batch: PairBatch, iteration: int) -> StepResult:
        images, targets, flow_pairs = _unpack(batch, run.device)
        # Labels, overlaps and losses are float32 under autocast too (TorchvisionSegmenter, transfer_labels).
        with autocast(run.device, settings.precision):
            losses, transferred = model(images, targets, flow_pairs, iteration=iteration)
        return StepResult(losses, {}, transferred)

    train(
        run,
        model,
        build_optimizer(
            settings.optimizer,
            parameter_groups(segmenter, settings),
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        ),
        warmup_and_steps(
            settings.iterations, warmup=settings.warmup_iterations, steps=settings.steps, gamma=settings.gamma
        ),
        iterations=settings.iterations,
        make_batch=make_batch,
        step=step,
        describe_batch=lambda batch: ", ".join(batch.frames),
        grad_clip=settings.grad_clip,
        accumulate=settings.accumulate,
        watch=TransferWatch(run.name),
    )
    finish(run, weights, records, {"model": segmenter.state_dict()})


def parameter_groups(segmenter: SegmenterBackend, settings: MaskconsistSettings) -> list[dict[str, Any]]:
    """The trunk at `lr`, everything else at `lr · head_lr_multiplier`; one group where the two are equal."""
    everything = list(segmenter.parameters())
    if settings.head_lr_multiplier == 1:
        return [{"params": everything, "lr": settings.lr}]
    trunk = list(segmenter.backbone.parameters())
    known = {id(parameter) for parameter in trunk}
    heads = [parameter for parameter in everything if id(parameter) not in known]
    return [{"params": trunk, "lr": settings.lr}, {"params": heads, "lr": settings.lr * settings.head_lr_multiplier}]


def describe_batch_and_rate(settings: MaskconsistSettings) -> str:
    """A line on the images of a step, the learning rate, and the one that the linear rule gives for them.

    The rule (Goyal et al. 2017: k times the images, k times the rate) starts from the paper's rate, 0.002, which we
    take to be one for a pair. It is told and not applied: `lr` is what the configuration says, whatever the batch.
    """
    images = 2 * settings.pairs_per_step * settings.accumulate
    text = (
        f"a step has {images} images (accumulate {settings.accumulate} × pairs_per_step {settings.pairs_per_step} × 2)"
        f"; lr {settings.lr:g} as configured"
    )
    if settings.optimizer != "sgd":
        return f"{text}, never scaled by itself; the linear rule is one for SGD, not for {settings.optimizer}"
    ruled = LR_OF_A_PAIR * images / 2
    return (
        f"{text}, never scaled by itself; the linear rule gives {ruled:g} ({LR_OF_A_PAIR:g} for 2 images), "
        f"so this is {settings.lr / ruled:.3g} times the rule"
    )


def labelled_pairs(dataset: VideoDataset, labels: StageOneLabels, flow: FlowReader) -> list[tuple[Video, int]]:
    """(video, t) of every pair (t, t+1) of annotated frames close enough in time with a label on either frame.

    How many pairs are left out, and why, is logged. Paper silent: pairs without any label teach nothing and are
    dropped (decision A25).
    """
    pairs, too_far, unlabelled = [], 0, 0
    for video in dataset.split("train"):
        has_label = [labels.exist(video, t) for t in range(len(video))]
        for t, near in enumerate(flow.pair_valid(video.id)):
            too_far += not near
            unlabelled += near and not (has_label[t] or has_label[t + 1])
            if near and (has_label[t] or has_label[t + 1]):
                pairs.append((video, t))
    log.info(
        "%d frame pairs to learn from; left out: %d without a label, %d too far apart in time",
        len(pairs),
        unlabelled,
        too_far,
    )
    if not pairs:
        raise WsvisError(
            "no pair of training frames has a stage-1 label: look at the pseudo-labels of this labeller in the "
            "report; thresholds that are too high (pseudo_labels.background_threshold) or a classifier that learnt "
            "nothing are the usual causes"
        )
    return pairs


def pair_order(
    dataset: VideoDataset, pairs: Sequence[tuple[Video, int]], sampling: Literal["uniform", "balanced"]
) -> list[int]:
    """Positions of `pairs` that make one pass over the data.

    "uniform": each once. "balanced": the pairs of rare classes, and of short videos, several times, so that every
    class is drawn about equally often and, within a class, every video; a pair of several classes counts as its rarest.
    The pass is at most MOST_REPEATS times as long as the uniform one.
    """
    if sampling == "uniform":
        return list(range(len(pairs)))
    labels = [dataset.class_labels(video)[[t, t + 1]].any(axis=0) for video, t in pairs]
    frequency = np.sum(labels, axis=0)
    rarest = [int(min(np.flatnonzero(row), key=lambda c: frequency[c], default=-1)) for row in labels]
    videos = [video.id for video, _ in pairs]
    in_class = {c: {v for v, other in zip(videos, rarest, strict=True) if other == c} for c in set(rarest)}
    in_video = Counter(zip(videos, rarest, strict=True))
    shares = [1 / (len(in_class[c]) * in_video[v, c]) for v, c in zip(videos, rarest, strict=True)]
    least = max(min(shares), max(shares) / MOST_REPEATS)
    return [i for i, share in enumerate(shares) for _ in range(max(1, round(share / least)))]


def _load_pair(
    dataset: VideoDataset,
    labels: StageOneLabels,
    flow: FlowReader,
    video: Video,
    t: int,
    settings: MaskconsistSettings,
    rng: torch.Generator,
) -> FramePair:
    frames = np.stack([dataset.read_frame(video, t), dataset.read_frame(video, t + 1)])
    # Stored `forward` is F_{t→s}, which brings masks from s to t; `backward` is F_{s→t}.
    flow_ts, flow_st = flow.pair(video.id, t, (video.height, video.width))
    pair = FramePair(
        torch.from_numpy(frames).permute(0, 3, 1, 2),
        (labels.frame(video, t), labels.frame(video, t + 1)),
        flow_st,
        flow_ts,
    )
    return augment_pair(
        pair,
        rng,
        short_side=settings.short_side,
        max_side=settings.max_side,
        flip_probability=settings.flip,
        scale_range=settings.scale_jitter,
    )


def _unpack(
    batch: PairBatch, device: torch.device
) -> tuple[list[Tensor], list[InstanceSet], list[tuple[Tensor, Tensor]]]:
    """Images and labels in the order t0, s0, t1, s1 …, and (F_{s→t}, F_{t→s}) per pair, on the device."""
    images = [image.to(device) for pair in batch.pairs for image in pair.images]
    labels = [instances.to(device) for pair in batch.pairs for instances in pair.labels]
    return images, labels, [(pair.flow_st.to(device), pair.flow_ts.to(device)) for pair in batch.pairs]
