"""The direct route: pseudo-labels take the place of a detector's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsvis_core.datasets.video import Video
from wsvis_core.storage.instance_shards import KIND, open_instances, to_columns
from wsvis_core.storage.shards import Columns, write_shard


def pass_labels_on(videos: Sequence[Video], labels: Path, output: Path, *, digest_of: dict[str, Any]) -> None:
    """Write the pseudo-labels of some videos as their predictions, in their order: same masks, classes and scores.

    Labels have no appearance vectors, so trackers link them by masks and flow alone.
    """
    source = open_instances([labels])

    def make_columns(video: Video) -> Columns:
        return to_columns(source.video(video.id))

    write_shard(output, kind=KIND, videos=videos, make_columns=make_columns, settings=digest_of)
