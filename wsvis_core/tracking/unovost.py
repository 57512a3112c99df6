"""UnOVOST: flow-linked tracklets joined by forest path cutting, without any supervision of identity.

Steps 2-7 of docs/method.md §5.1; step 1, overlap removal, is what all trackers begin with (`proposals.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from wsvis_core.config import UnovostSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.tracking.forest import (
    accumulated_score,
    appearance_distances,
    cut_paths,
    find_parents,
    leaf_paths,
    normalise_distances,
    path_score,
)
from wsvis_core.tracking.proposals import appearance_of
from wsvis_core.tracking.tracklets import Tracklet, build_tracklets, link_frames
from wsvis_core.tracking.tracks import Chain

Trajectory = tuple[Tracklet, ...]


def link_unovost(
    proposals: Sequence[EncodedInstances], flows_backward: Sequence[np.ndarray | None], settings: UnovostSettings
) -> list[Chain]:
    """Chains of T frames of proposals that do not overlap, best score first, and T-1 flows F_{t+1→t} or None.

    Without appearance all distances are 0 and the forest follows time alone.
    """
    links = link_frames(
        [frame.rles for frame in proposals],
        flows_backward,
        proposals[0].size if proposals else (0, 0),
        threshold=settings.link_threshold,
        assignment=settings.assignment,
        link_long_side=settings.link_long_side,
    )
    counts = [len(frame) for frame in proposals]
    tracklets = build_tracklets(counts, links, keep_last_frame=settings.keep_last_frame)
    trajectories = _trajectories(tracklets, proposals, settings) if tracklets else []
    published = settings.ranking == "published"
    return [
        Chain(
            tuple(place for tracklet in trajectory for place in tracklet.places),
            _published_score(trajectory, proposals) if published else None,
        )
        for trajectory in trajectories
    ]


def _trajectories(
    tracklets: Sequence[Tracklet], proposals: Sequence[EncodedInstances], settings: UnovostSettings
) -> list[Trajectory]:
    """Disjoint chains of tracklets, by forest path cutting."""
    if not settings.merge:
        return [(tracklet,) for tracklet in tracklets]
    starts, ends = [t.start for t in tracklets], [t.end for t in tracklets]
    distances = appearance_distances(_appearance(tracklets, proposals))
    parents = find_parents(starts, ends, distances, parent_rule=settings.parent_rule)
    score = partial(
        path_score,
        starts=starts,
        ends=ends,
        normalised=normalise_distances(distances),
        video_length=len(proposals),
        cover_weight=settings.cover_weight,
        appearance_weight=settings.appearance_weight,
        cover_measure=settings.cover_measure,
    )
    return [tuple(tracklets[i] for i in path) for path in cut_paths(leaf_paths(parents), score, ends)]


def _appearance(tracklets: Sequence[Tracklet], proposals: Sequence[EncodedInstances]) -> np.ndarray:
    """Mean appearance of each tracklet (N,D) float64."""
    vectors = appearance_of(proposals)
    means = [np.mean([vectors[t][i] for t, i in tracklet.places], axis=0, dtype=float) for tracklet in tracklets]
    return np.stack(means)


def _published_score(trajectory: Trajectory, proposals: Sequence[EncodedInstances]) -> float:
    means = [np.mean([float(proposals[t].scores[i]) for t, i in piece.places]) for piece in trajectory]
    return accumulated_score([len(piece) for piece in trajectory], [float(m) for m in means])
