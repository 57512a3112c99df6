"""Run MaskConsist's transfer once more with a trained segmenter, on a few training pairs, to be looked at."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wsvis_core.config import MaskconsistSettings, ReportSettings, SelfTrainingSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.flow.load import FlowReader
from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist.transfer import TransferSettings, transfer_labels
from wsvis_core.segmentation.augment import FramePair, resize_pair, training_size
from wsvis_core.segmentation.build import segmenter_from_settings, transfer_from_settings
from wsvis_core.segmentation.interface import SegmenterBackend
from wsvis_core.segmentation.train import StageOneLabels
from wsvis_core.storage.files import load_tensors
from wsvis_core.storage.instance_shards import EncodedInstances, open_instances
from wsvis_core.visualization.transfers import PairTransfer, Transfers, write_transfers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedPairs:
    """Everything a transfer is made from: frames, labels and flow of the training videos, and the segmenter."""

    dataset: VideoDataset
    labels: StageOneLabels
    flow: FlowReader
    segmenter: SegmenterBackend
    settings: MaskconsistSettings
    device: torch.device


def show_transfers(
    dataset: VideoDataset,
    labels: Sequence[Path],
    flow: Sequence[Path],
    weights: Path,
    settings: MaskconsistSettings,
    self_training: SelfTrainingSettings | None,
    report: ReportSettings,
    output: Path,
    *,
    seed: int,
    device: torch.device,
) -> None:
    """Write a few pairs with what the trained segmenter makes of them (`choose_transfers`), for the report.

    labels, flow, settings, self_training: as `train_maskconsist` had them for these weights.
    """
    segmenter = segmenter_from_settings(settings, len(dataset.categories), weights="none")
    segmenter.load_state_dict(load_tensors(weights)["model"])
    source = StageOneLabels(open_instances(labels), dataset, self_training)
    trained = TrainedPairs(dataset, source, FlowReader(flow), segmenter.to(device).eval(), settings, device)
    found = choose_transfers(trained, count=report.transfers, most_looked_at=report.transfer_pairs, seed=seed)
    log.info("%d of %d pairs have a transferred label", found.with_transfer, found.looked_at)
    write_transfers(found, output)


def choose_transfers(trained: TrainedPairs, *, count: int, most_looked_at: int, seed: int) -> Transfers:
    """Up to `count` pairs with a transferred label, each of another video; without any, one pair as it is.

    At most `most_looked_at` pairs with a stage-1 label are tried, in an order drawn from the seed; a plain Mask R-CNN
    transfers nothing, so that one is enough.
    """
    transfer = transfer_from_settings(trained.settings)
    chosen: dict[int, PairTransfer] = {}
    spare: list[PairTransfer] = []
    looked_at = with_transfer = 0
    for video, t in _labelled_places(trained, seed) if count else ():
        pair = pair_transfer(trained, video, t, transfer)
        looked_at += 1
        with_transfer += any(pair.transferred)
        if any(pair.transferred):
            chosen.setdefault(video.id, pair)
        elif not spare:
            spare.append(pair)
        if len(chosen) == count or looked_at == (1 if transfer is None else most_looked_at):
            break
    return Transfers(transfer is not None, looked_at, with_transfer, tuple(chosen.values()) or tuple(spare))


def _labelled_places(trained: TrainedPairs, seed: int) -> Iterator[tuple[Video, int]]:
    """(video, t) of the pairs (t, t+1) that training draws from, in a random order that the seed decides."""
    videos = trained.dataset.split("train")
    places = [(video, t) for video in videos for t, near in enumerate(trained.flow.pair_valid(video.id)) if near]
    for i in np.random.default_rng(seed).permutation(len(places)):
        video, t = places[i]
        if trained.labels.exist(video, t) or trained.labels.exist(video, t + 1):
            yield video, t


@torch.no_grad()
def pair_transfer(trained: TrainedPairs, video: Video, t: int, transfer: TransferSettings | None) -> PairTransfer:
    """Labels, predictions and targets of frames t and t+1, not mirrored, seen from the frame that receives a label.

    Where both receive one, or none does, that is t+1. transfer: None makes the stage-1 labels the targets.
    """
    pair = _read_pair(trained, video, t)
    images = [image.to(trained.device) for image in pair.images]
    labels = [instances.to(trained.device) for instances in pair.labels]
    found = trained.segmenter.predict(trained.segmenter.encode(images))
    targets = labels
    if transfer is not None:
        flow_st, flow_ts = pair.flow_st.to(trained.device), pair.flow_ts.to(trained.device)
        target_t, target_s, _ = transfer_labels(found[0], labels[0], found[1], labels[1], flow_st, flow_ts, transfer)
        targets = [target_t, target_s]
        found = [instances.select(instances.scores >= transfer.min_candidate_score) for instances in found]
    new = [_is_new(target, own) for target, own in zip(targets, labels, strict=True)]
    a, b = (1, 0) if new[0].any() and not new[1].any() else (0, 1)
    encoded = [[EncodedInstances.encode(item) for item in items] for items in (labels, found, targets)]
    return PairTransfer(
        video_id=video.id,
        source=t + a,
        target=t + b,
        source_labels=encoded[0][a],
        source_predictions=encoded[1][a],
        target_labels=encoded[0][b],
        target_predictions=encoded[1][b],
        targets=encoded[2][b],
        transferred=tuple(new[b].tolist()),
    )


def _read_pair(trained: TrainedPairs, video: Video, t: int) -> FramePair:
    """The pair at the size it was trained at."""
    settings = trained.settings
    frames = np.stack([trained.dataset.read_frame(video, index) for index in (t, t + 1)])
    # Stored `forward` is F_{t→s}, which brings masks from s to t; `backward` is F_{s→t}.
    flow_ts, flow_st = trained.flow.pair(video.id, t, (video.height, video.width))
    labels = (trained.labels.frame(video, t), trained.labels.frame(video, t + 1))
    pair = FramePair(torch.from_numpy(frames).permute(0, 3, 1, 2), labels, flow_st, flow_ts)
    return resize_pair(pair, training_size(pair.size, settings.short_side, settings.max_side))


def _is_new(targets: InstanceSet, labels: InstanceSet) -> Tensor:
    """(T,) bool: the targets that are none of the frame's own labels, by class and mask."""
    known = [
        bool(((labels.masks == mask).flatten(1).all(dim=1) & (labels.classes == label)).any())
        for mask, label in zip(targets.masks, targets.classes, strict=True)
    ]
    return ~torch.tensor(known, dtype=torch.bool)
