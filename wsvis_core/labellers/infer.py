"""Pseudo-labels of a shard of videos by any labeller."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsvis_core.datasets.video import Video
from wsvis_core.labellers.background import drop_background
from wsvis_core.labellers.interface import Labeller
from wsvis_core.parallel import map_threads
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, to_columns
from wsvis_core.storage.shards import Columns, write_shard

log = logging.getLogger(__name__)


def make_pseudo_labels(
    labeller: Labeller,
    videos: Sequence[Video],
    output: Path,
    *,
    max_cover: float | None = None,
    threads: int = 1,
    digest_of: dict[str, Any],
) -> None:
    """Write the instances of every frame of some videos (§2.4).

    max_cover: share of the frame above which an instance is taken for background and left out, with those along
    three sides (`background.py`); None keeps all. How many were left out is logged per video. threads: frames made at
    a time.
    """

    def make_columns(video: Video) -> Columns:
        def frame(index: int) -> tuple[EncodedInstances, int]:
            found = labeller.produce(video, index)
            kept = found if max_cover is None else drop_background(found, max_cover=max_cover)
            return EncodedInstances.encode(kept), len(found) - len(kept)

        made = map_threads(frame, range(len(video)), threads)
        if dropped := sum(count for _, count in made):
            log.info("%s: %d labels are left out, taken for background", video.name, dropped)
        return to_columns([encoded for encoded, _ in made])

    write_shard(output, kind=KIND, videos=videos, make_columns=make_columns, settings=digest_of)
