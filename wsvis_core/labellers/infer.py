"""Pseudo-labels of a shard of videos by any labeller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsvis_core.datasets.video import Video
from wsvis_core.labellers.interface import Labeller
from wsvis_core.parallel import map_threads
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, to_columns
from wsvis_core.storage.shards import Columns, write_shard


def make_pseudo_labels(
    labeller: Labeller, videos: Sequence[Video], output: Path, *, threads: int = 1, digest_of: dict[str, Any]
) -> None:
    """Write the instances of every frame of some videos (§2.4). threads: frames made at a time."""

    def make_columns(video: Video) -> Columns:
        def frame(index: int) -> EncodedInstances:
            return EncodedInstances.encode(labeller.produce(video, index))

        return to_columns(map_threads(frame, range(len(video)), threads))

    write_shard(output, kind=KIND, videos=videos, make_columns=make_columns, settings=digest_of)
