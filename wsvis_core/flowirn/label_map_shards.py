"""Label maps of a shard of videos: (f-)CAMs refined on the image become inter-pixel relation labels (§1.4, §2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsvis_core.cam.amplify import amplify_cams
from wsvis_core.cam.infer import CamReader
from wsvis_core.config import FCamSettings, LabelMapSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.flow.load import FlowReader
from wsvis_core.flowirn.label_maps import crf_refinement, label_map
from wsvis_core.images import resize_image
from wsvis_core.parallel import map_threads
from wsvis_core.storage.shards import Columns, ShardReader, write_shard

KIND = "label_maps"


def make_label_maps(
    dataset: VideoDataset,
    videos: Sequence[Video],
    cams: Path,
    flow: Path,
    output: Path,
    settings: LabelMapSettings,
    f_cam: FCamSettings,
    *,
    threads: int = 1,
    digest_of: dict[str, Any],
) -> None:
    """Write the label maps (T,H,W) uint8 of some videos at the CAMs' size: 0 background, class + 1, 255 undecided.

    threads: frames made at a time.
    """
    cam_reader, flow_reader = CamReader([cams]), FlowReader([flow])

    def make_columns(video: Video) -> Columns:
        def frame(index: int) -> np.ndarray:
            return _frame_label_map(dataset, video, index, cam_reader, flow_reader, settings, f_cam)

        return {"labels": np.stack(map_threads(frame, range(len(video)), threads))}

    attributes = {"labels": "0 background, class index + 1, 255 undecided"}
    write_shard(output, kind=KIND, videos=videos, make_columns=make_columns, settings=digest_of, attributes=attributes)


def _frame_label_map(
    dataset: VideoDataset,
    video: Video,
    index: int,
    cams: CamReader,
    flow: FlowReader,
    settings: LabelMapSettings,
    f_cam: FCamSettings,
) -> np.ndarray:
    size = cams.size(video.id)
    keys = cams.keys(video.id, index)
    if len(keys) == 0:
        return np.zeros(size, np.uint8)
    _, high_res = f_cams(cams, flow, video, index, f_cam)
    image = resize_image(dataset.read_frame(video, index), size)
    refine = None
    if settings.crf == "mean_field":
        refine = crf_refinement(
            torch.from_numpy(image.transpose(2, 0, 1).copy()),
            iterations=settings.crf_iterations,
            gt_prob=settings.crf_gt_prob,
            position_std=settings.crf_position_std,
            position_weight=settings.crf_position_weight,
            bilateral_std=settings.crf_bilateral_std,
            color_std=settings.crf_color_std,
            bilateral_weight=settings.crf_bilateral_weight,
        )
    return label_map(
        high_res,
        torch.from_numpy(keys),
        fg_threshold=settings.fg_threshold,
        bg_threshold=settings.bg_threshold,
        refine=refine,
    ).numpy()


def f_cams(
    cams: CamReader, flow: FlowReader, video: Video, index: int, settings: FCamSettings
) -> tuple[Tensor, Tensor]:
    """(seed CAMs (K,h,w), label CAMs (K,H,W)) of a frame, amplified where it moves if f-CAM is on (Eq. 2)."""
    frame_cams = cams.frame(video.id, index)
    strided, high_res = torch.from_numpy(frame_cams.strided), torch.from_numpy(frame_cams.high_res)
    if not settings.enabled:
        return strided, high_res
    # The percentile is over the flow's own pixels; its unit, native pixels per native frame, matters to min_motion_px.
    entry = flow.next_flow_as_stored(video.id, index, (video.height, video.width))
    return amplify_cams(
        strided,
        high_res,
        entry.flow / entry.gap if entry.step else None,
        amplification=settings.A,
        frame_size=(video.height, video.width),
        **settings.model_dump(exclude={"enabled", "A"}),
    )


class LabelMapReader:
    """Label maps of single frames from label-map shards."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._shards = ShardReader(paths, kind=KIND)

    def frame(self, video_id: int, index: int) -> np.ndarray:
        """The label map (H,W) uint8 of one frame."""
        return self._shards.columns(video_id)["labels"][index]
