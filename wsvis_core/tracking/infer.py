"""Tracks of every held-out video from the stored predictions and flow, as one YouTube-VIS result file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsvis_core.config import TrackingSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.flow.load import FlowReader
from wsvis_core.progress import Progress
from wsvis_core.storage.instance_shards import InstanceReader, open_instances
from wsvis_core.tracking.results import tracks_to_results, write_results
from wsvis_core.tracking.tracks import Track
from wsvis_core.tracking.unovost import track_video


def track_instances(
    dataset: VideoDataset, predictions: Sequence[Path], flow: Sequence[Path], settings: TrackingSettings, output: Path
) -> None:
    """Track every video of the validation split and write the result file."""
    instances, flows = open_instances(predictions), FlowReader(flow)
    category_ids = [category.id for category in dataset.categories]
    videos = dataset.split("val")
    progress = Progress("track_instances", total=len(videos), unit="video")
    results = []
    for video in videos:
        tracks = track_one(video, instances, flows, settings)
        results += tracks_to_results(video.id, tracks, category_ids)
        progress.advance(f"{len(results)} tracks")
    progress.close()
    write_results(output, results)


def track_one(video: Video, instances: InstanceReader, flow: FlowReader, settings: TrackingSettings) -> list[Track]:
    """Tracks of one video, best first; frames are linked by F_{t+1→t} at the size it was stored."""
    backward: list[np.ndarray | None] = [flow.backward(video.id, t) for t in range(len(video) - 1)]
    options = settings.model_dump(exclude={"kind"})
    return track_video(instances.video(video.id), backward, video_length=len(video), **options)
