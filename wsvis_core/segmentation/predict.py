"""Masks of every frame by a trained segmenter, at the frames' original size (§3.10, test)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from wsvis_core.config import MaskconsistSettings, PredictionSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.instances import InstanceSet
from wsvis_core.segmentation.augment import resize_image, training_size
from wsvis_core.segmentation.build import segmenter_from_settings
from wsvis_core.segmentation.interface import SegmenterBackend
from wsvis_core.storage.files import load_tensors
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, to_columns
from wsvis_core.storage.shards import Columns, write_shard


def predict_masks(
    dataset: VideoDataset,
    videos: Sequence[Video],
    weights: Path,
    output: Path,
    settings: MaskconsistSettings,
    prediction: PredictionSettings,
    *,
    device: torch.device,
    digest_of: dict[str, Any],
) -> None:
    """Write the predictions of some videos, with the box head's appearance vector of each detection."""
    segmenter = segmenter_from_settings(settings, len(dataset.categories), weights="none", prediction=prediction)
    segmenter.load_state_dict(load_tensors(weights)["model"])
    segmenter = segmenter.to(device).eval()

    def make_columns(video: Video) -> Columns:
        found = [predict_frame(segmenter, dataset, video, t, prediction, device) for t in range(len(video))]
        return to_columns([EncodedInstances.encode(instances) for instances in found])

    write_shard(output, kind=KIND, videos=videos, make_columns=make_columns, settings=digest_of)


@torch.inference_mode()
def predict_frame(
    segmenter: SegmenterBackend,
    dataset: VideoDataset,
    video: Video,
    index: int,
    prediction: PredictionSettings,
    device: torch.device,
) -> InstanceSet:
    """Detections of one frame at its original size, best score first.

    Of a training video only classes of the frame's label, unless `prediction.given_labels` is off.
    """
    frame = torch.from_numpy(dataset.read_frame(video, index)).permute(2, 0, 1)
    size = (video.height, video.width)
    image = resize_image(frame, training_size(size, prediction.short_side, prediction.max_side)).to(device)
    given = dataset.given_labels(video) if prediction.given_labels else None
    classes = None if given is None else [torch.from_numpy(given[index])]
    state = segmenter.encode([image])
    return segmenter.predict(state, with_appearance=True, output_sizes=[size], classes=classes)[0].to("cpu")
