"""Tracks of every held-out video from the stored predictions and flow, as one YouTube-VIS result file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from wsvis_core.config import TrackingSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.flow.load import FlowReader
from wsvis_core.progress import Progress
from wsvis_core.storage.instance_shards import InstanceReader, open_instances
from wsvis_core.storage.shards import one_by_one
from wsvis_core.tracking.appearance import BackboneAppearance
from wsvis_core.tracking.proposals import clean_proposals, of_classes
from wsvis_core.tracking.results import Result, tracks_to_results, write_results
from wsvis_core.tracking.tracker import track_video
from wsvis_core.tracking.tracks import Track


def track_instances(
    dataset: VideoDataset, predictions: Sequence[Path], flow: Sequence[Path], settings: TrackingSettings, output: Path
) -> None:
    """Track every video of the validation split and write the result file.

    A video whose class labels are given has tracks of these classes alone (`VideoDataset.given_labels`).
    Reads frames only for `appearance: backbone`; its network runs on the CPU, as the job has no GPU.
    """
    instances, flows = open_instances(predictions), FlowReader(flow)
    category_ids = [category.id for category in dataset.categories]
    videos = dataset.split("val")
    network = None
    if settings.appearance == "backbone":
        network = BackboneAppearance(settings.backbone, settings.backbone_weights, torch.device("cpu"))
    progress = Progress("track_instances", total=len(videos), unit="video")

    def results() -> Iterator[Result]:
        """The tracks of one video after the other: those of all would not fit into the memory of a job."""
        for video in one_by_one(videos, instances, flows):
            tracks = track_one(video, instances, flows, settings, dataset=dataset, network=network)
            yield from tracks_to_results(video.id, tracks, category_ids)
            progress.advance(f"{len(tracks)} tracks")

    write_results(output, results())
    progress.close()


def track_one(
    video: Video,
    instances: InstanceReader,
    flow: FlowReader,
    settings: TrackingSettings,
    *,
    dataset: VideoDataset | None = None,
    network: BackboneAppearance | None = None,
) -> list[Track]:
    """Tracks of one video, best first; frames are linked by F_{t+1→t} at the size it was stored.

    dataset: whose given labels the tracks keep to, where there are any · dataset, network: where the frames are and
    what describes their proposals instead of the stored appearance.
    """
    backward: list[np.ndarray | None] = [flow.backward(video.id, t) for t in range(len(video) - 1)]
    frames = instances.video(video.id)
    given = None if dataset is None else dataset.given_labels(video)
    if dataset is not None and network is not None:
        # Only what the tracker will use is worth a run of the network.
        if given is not None:
            frames = [of_classes(frame, wanted) for frame, wanted in zip(frames, given, strict=True)]
        frames = network.describe(dataset, video, [clean_proposals(frame, settings) for frame in frames])
    return track_video(frames, backward, settings, video_length=len(video), given=given)
