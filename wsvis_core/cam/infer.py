"""Multi-scale class activation maps of frames (§1.3), stored per video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsvis_core.cam.network import CamNet, build_cam_net
from wsvis_core.config import CamSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.images import resize_image, scaled_size, to_tensor
from wsvis_core.storage.files import load_tensors
from wsvis_core.storage.shards import Columns, ShardReader, write_shard

KIND = "cam"


@dataclass(frozen=True)
class FrameCams:
    """CAMs of one frame: keys (K,) class indices ascending; strided (K,h,w) at stride 4; high_res (K,H,W); 0..1."""

    keys: np.ndarray
    strided: np.ndarray
    high_res: np.ndarray


@torch.inference_mode()
def multi_scale_cams(
    net: CamNet, image: np.ndarray, keys: np.ndarray, *, scales: Sequence[float], device: torch.device
) -> FrameCams:
    """Normalised CAMs of the classes `keys` (§1.3 steps 1–5).

    image (H,W,3) uint8 RGB at working size; keys (K,) int. Every scaled image is stacked with its mirror; ReLU maps
    are added, resized bilinearly (align_corners=False), summed over scales and divided by their own maximum + 1e-5.
    """
    height, width = image.shape[:2]
    strided_size = ((height - 1) // 4 + 1, (width - 1) // 4 + 1)
    padded_size = (((height - 1) // 16 + 1) * 16, ((width - 1) // 16 + 1) * 16)
    if len(keys) == 0:
        return FrameCams(keys, np.zeros((0, *strided_size), np.float32), np.zeros((0, height, width), np.float32))
    strided = high_res = torch.zeros((), device=device)
    for scale in scales:
        maps = _mirrored_maps(net, image, scale, device)[torch.as_tensor(keys)]
        strided = strided + _resize_maps(maps, strided_size)
        high_res = high_res + _resize_maps(maps, padded_size)
    return FrameCams(keys, _normalise(strided).cpu().numpy(), _normalise(high_res[:, :height, :width]).cpu().numpy())


def _mirrored_maps(net: CamNet, image: np.ndarray, scale: float, device: torch.device) -> Tensor:
    """ReLU maps (C,h,w) of one scale: the image's plus its mirror's, mirrored back."""
    height, width = image.shape[:2]
    scaled = to_tensor(resize_image(image, (max(round(height * scale), 1), max(round(width * scale), 1)))).to(device)
    maps = net.activation_maps(torch.stack([scaled, scaled.flip(-1)]))
    return maps[0] + maps[1].flip(-1)


def _resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def _normalise(maps: Tensor) -> Tensor:
    return maps / (maps.amax(dim=(-2, -1), keepdim=True) + 1e-5)


def load_cam_net(weights: Path, settings: CamSettings, num_classes: int, device: torch.device) -> CamNet:
    """The trained classifier in inference mode."""
    net = build_cam_net(settings, num_classes, pretrained=False)
    net.load_state_dict(load_tensors(weights)["model"])
    return net.to(device).eval()


def extract_cam(
    dataset: VideoDataset,
    videos: Sequence[Video],
    weights: Path,
    output: Path,
    settings: CamSettings,
    *,
    long_side: int,
    device: torch.device,
    digest_of: dict[str, Any],
) -> None:
    """Write the CAM shard of some videos, frames scaled to `long_side`, for the classes each frame is labelled with."""
    net = load_cam_net(weights, settings, len(dataset.categories), device)

    def make_columns(video: Video) -> Columns:
        size = scaled_size(video.height, video.width, long_side)
        labels = dataset.class_labels(video)
        cams = [
            multi_scale_cams(
                net,
                resize_image(dataset.read_frame(video, t), size),
                np.flatnonzero(labels[t]),
                scales=settings.scales,
                device=device,
            )
            for t in range(len(video))
        ]
        return _to_columns(cams, size)

    attributes = {"unit": "1, per-class maximum of the frame", "strided": "stride 4 of high_res"}
    write_shard(output, kind=KIND, videos=videos, make_columns=make_columns, settings=digest_of, attributes=attributes)


def _to_columns(cams: list[FrameCams], size: tuple[int, int]) -> Columns:
    """frame_starts (T+1,), keys (M,), strided (M,h,w) and high_res (M,H,W) float16: rows in frame order."""
    counts = [len(cam.keys) for cam in cams]
    return {
        "size": np.array(size, np.int64),
        "frame_starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "keys": np.concatenate([cam.keys for cam in cams]).astype(np.int64),
        "strided": np.concatenate([cam.strided for cam in cams]).astype(np.float16),
        "high_res": np.concatenate([cam.high_res for cam in cams]).astype(np.float16),
    }


class CamReader:
    """CAMs of single frames from CAM shards."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._shards = ShardReader(paths, kind=KIND)

    def size(self, video_id: int) -> tuple[int, int]:
        """Working size (H, W) of a video's CAMs."""
        height, width = self._shards.columns(video_id)["size"][()]
        return int(height), int(width)

    def keys(self, video_id: int, index: int) -> np.ndarray:
        """The classes (K,) of one frame, without reading its maps."""
        columns = self._shards.columns(video_id)
        first, last = (int(v) for v in columns["frame_starts"][index : index + 2])
        return columns["keys"][first:last]

    def frame(self, video_id: int, index: int) -> FrameCams:
        """CAMs of one frame, float32."""
        columns = self._shards.columns(video_id)
        first, last = (int(v) for v in columns["frame_starts"][index : index + 2])
        maps = [columns[name][first:last].astype(np.float32) for name in ("strided", "high_res")]
        return FrameCams(columns["keys"][first:last], *maps)
