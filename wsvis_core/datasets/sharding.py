"""Which videos a shard holds: the videos of a split, spread so that shards have about equally many frames."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from wsvis_core.datasets.video import Video, VideoDataset


def shard_names(split: str, count: int) -> list[str]:
    """Names of the shards of a split: "train-000", "train-001" …"""
    return [f"{split}-{index:03d}" for index in range(count)]


def shard_videos(dataset: VideoDataset, name: str, counts: dict[str, int]) -> list[Video]:
    """The videos of shard `name`, in the split's order. counts: number of shards per split.

    There may be fewer videos than shards: the last shards are then empty, which is legal everywhere.
    """
    split, index = name.rsplit("-", 1)
    return partition(dataset.split(split), counts[split])[int(index)]


def partition(videos: Sequence[Video], count: int) -> list[list[Video]]:
    """Videos in `count` groups: longest first, each to the group with the fewest frames so far (deterministic)."""
    heap = [(0, group) for group in range(count)]
    group_of = {}
    for video in sorted(videos, key=lambda video: (-len(video), video.id)):
        frames, group = heapq.heappop(heap)
        group_of[video.id] = group
        heapq.heappush(heap, (frames + len(video), group))
    return [[video for video in videos if group_of[video.id] == group] for group in range(count)]
