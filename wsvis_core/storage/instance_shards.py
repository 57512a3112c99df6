"""Instances per frame (pseudo-labels, predictions) as columns: RLE bytes, classes, scores, boxes, appearance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wsvis_core.instances import InstanceSet
from wsvis_core.storage.rle import Rle, decode_mask, encode_mask
from wsvis_core.storage.shards import Columns, ShardReader

KIND = "instances"


@dataclass(frozen=True)
class EncodedInstances:
    """The instances of one frame with masks as RLE at the original frame size (H, W). N = 0 is legal.

    rles N compressed RLEs · classes (N,) int64 in 0..C-1 · scores (N,) float32 · boxes_xyxy (N,4) float32 ·
    appearance (N,D) float32 or None.
    """

    size: tuple[int, int]
    rles: tuple[Rle, ...]
    classes: np.ndarray
    scores: np.ndarray
    boxes_xyxy: np.ndarray
    appearance: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rles)

    @classmethod
    def empty(cls, size: tuple[int, int]) -> EncodedInstances:
        """No instance on a frame of size (H, W)."""
        none = np.zeros(0, np.float32)
        return cls(size, (), np.zeros(0, np.int64), none, none.reshape(0, 4))

    @classmethod
    def encode(cls, instances: InstanceSet) -> EncodedInstances:
        """Encode an InstanceSet (on any device)."""
        instances = instances.to("cpu")
        appearance = instances.appearance
        return cls(
            instances.size,
            tuple(encode_mask(mask) for mask in instances.masks.numpy()),
            instances.classes.numpy(),
            instances.scores.numpy(),
            instances.boxes_xyxy.numpy(),
            None if appearance is None else appearance.numpy(),
        )

    def decode(self) -> InstanceSet:
        """Dense masks again, on the CPU."""
        masks = [decode_mask(rle) for rle in self.rles]
        stacked = np.stack(masks) if masks else np.zeros((0, *self.size), bool)
        return InstanceSet(
            torch.from_numpy(stacked),
            torch.from_numpy(self.boxes_xyxy),
            torch.from_numpy(self.classes),
            torch.from_numpy(self.scores),
            None if self.appearance is None else torch.from_numpy(self.appearance),
        )


def to_columns(frames: Sequence[EncodedInstances]) -> Columns:
    """Columns of one video: `frame_starts` (T+1,), then one row per instance in frame order.

    Masks are one byte string `rle_bytes` cut at `rle_starts` (M+1,). Appearance, if every non-empty frame has it,
    is stored as float16: its use is a distance, where 3 digits are enough.
    """
    counts = [len(frame) for frame in frames]
    texts = [rle["counts"].encode("ascii") for frame in frames for rle in frame.rles]
    columns = {
        "size": np.array(frames[0].size if frames else (0, 0), np.int64),
        "frame_starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "classes": _stack([f.classes for f in frames], np.int64),
        "scores": _stack([f.scores for f in frames], np.float32),
        "boxes_xyxy": _stack([f.boxes_xyxy for f in frames], np.float32, (4,)),
        "rle_starts": np.concatenate([[0], np.cumsum([len(t) for t in texts])]).astype(np.int64),
        "rle_bytes": np.frombuffer(b"".join(texts), np.uint8),
    }
    vectors = [f.appearance for f in frames if len(f)]
    if vectors and all(v is not None for v in vectors):
        columns["appearance"] = np.concatenate([v for v in vectors if v is not None]).astype(np.float16)
    return columns


def _stack(rows: list[np.ndarray], dtype: type, tail: tuple[int, ...] = ()) -> np.ndarray:
    return np.concatenate([np.zeros((0, *tail), dtype), *rows]).astype(dtype)


class InstanceReader:
    """Instances of single frames or whole videos from instance shards."""

    def __init__(self, shards: ShardReader) -> None:
        self._shards = shards

    def __contains__(self, video_id: int) -> bool:
        return video_id in self._shards

    def close(self) -> None:
        """Close the files; the next call opens them again."""
        self._shards.close()

    def video(self, video_id: int) -> list[EncodedInstances]:
        """All frames of a video."""
        columns = self._shards.columns(video_id)
        return [self.frame(video_id, index) for index in range(len(columns["frame_starts"]) - 1)]

    def frame(self, video_id: int, index: int) -> EncodedInstances:
        """The instances of one frame (position in the video's frame list)."""
        columns = self._shards.columns(video_id)
        first, last = (int(v) for v in columns["frame_starts"][index : index + 2])
        starts = columns["rle_starts"][first : last + 1]
        height, width = (int(v) for v in columns["size"][()])
        data = columns["rle_bytes"][int(starts[0]) : int(starts[-1])].tobytes().decode("ascii")
        cuts = starts - starts[0]
        rles = tuple({"size": [height, width], "counts": data[a:b]} for a, b in zip(cuts[:-1], cuts[1:], strict=True))
        appearance = columns["appearance"][first:last].astype(np.float32) if "appearance" in columns else None
        return EncodedInstances(
            (height, width),
            rles,
            columns["classes"][first:last],
            columns["scores"][first:last],
            columns["boxes_xyxy"][first:last],
            appearance,
        )


def open_instances(paths: Sequence) -> InstanceReader:
    """Reader over instance shard files."""
    return InstanceReader(ShardReader(paths, kind=KIND))
