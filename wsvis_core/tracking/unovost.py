"""UnOVOST: per-frame instances to tracks of a whole video, without any supervision of identity.

Overlap removal → flow-linked tracklets → forest path cutting → category, score, ranking (docs/method.md §5.1-5.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.tracking.forest import (
    CoverMeasure,
    ParentRule,
    accumulated_score,
    appearance_distances,
    cut_paths,
    find_parents,
    leaf_paths,
    normalise_distances,
    path_score,
)
from wsvis_core.tracking.overlap import OverlapMeasure, rle_areas
from wsvis_core.tracking.tracklets import Assignment, Tracklet, build_tracklets, link_frames, remove_overlaps
from wsvis_core.tracking.tracks import Track

Trajectory = tuple[Tracklet, ...]


@dataclass(frozen=True)
class UnovostOptions:
    """What `track_video` takes besides its data. Defaults: the published values, with our repairs (§5.2)."""

    min_score: float = 0.05  # proposals below are not used
    overlap_threshold: float = 0.2  # of two proposals of a frame that overlap this much, the better stays
    overlap_measure: OverlapMeasure = "iou"
    link_threshold: float = 0.05  # least IoU of a flow link (exclusive)
    link_long_side: int | None = None  # link at this size instead of the frame's, for speed
    assignment: Assignment = "hungarian"
    keep_last_frame: bool = True  # published: False, what appears only in the last frame is lost
    merge: bool = True  # False: every tracklet is a track of its own
    parent_rule: ParentRule = "published"
    cover_measure: CoverMeasure = "published"
    cover_weight: float = 0.9
    appearance_weight: float = 0.1
    max_tracks: int = 20
    ranking: Literal["score", "published"] = "score"  # published: mean of (score × frames so far)
    category: Literal["summed_score", "majority"] = "summed_score"
    length_weighted_score: bool = False  # multiply the mean score by the share of the video
    per_class: bool = False  # track every class by itself; max_tracks then counts per class
    second_hypothesis: bool = False  # export each track again with its second-best class


def track_video(
    frames: Sequence[EncodedInstances],
    flows_backward: Sequence[np.ndarray | None],
    *,
    video_length: int | None = None,
    **options: Any,
) -> list[Track]:
    """Tracks of one video, best first; [] when no proposal is good enough.

    frames: instances of each of T frames, masks at one frame size (H, W) · flows_backward: T-1 fields
    F_{t+1→t} (2,h,w), pixels of their own array, or None (no movement assumed) · video_length: must be T if given ·
    options: the fields of `UnovostOptions`. Appearance is used when every frame with proposals has it; otherwise
    all distances are 0 and the forest follows time alone. Raises ValueError for lengths that disagree.
    """
    chosen = UnovostOptions(**options)
    _check_lengths(frames, flows_backward, video_length)
    if not chosen.per_class:
        return _track_together(frames, flows_backward, chosen)
    classes = sorted({int(c) for frame in frames for c in frame.classes})
    tracks = [
        track
        for wanted in classes
        for track in _track_together([_of_class(f, wanted) for f in frames], flows_backward, chosen)
    ]
    return sorted(tracks, key=lambda track: -track.score)


def _check_lengths(
    frames: Sequence[EncodedInstances], flows: Sequence[np.ndarray | None], video_length: int | None
) -> None:
    if video_length is not None and video_length != len(frames):
        raise ValueError(f"video_length is {video_length}, but there are instances of {len(frames)} frames")
    if len(flows) != max(len(frames) - 1, 0):
        raise ValueError(f"{len(frames)} frames need {max(len(frames) - 1, 0)} flows, got {len(flows)}")
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) > 1:
        raise ValueError(f"frames of one video have different sizes: {sizes}")


def _of_class(frame: EncodedInstances, wanted: int) -> EncodedInstances:
    return _select(frame, np.flatnonzero(frame.classes == wanted).tolist())


def _select(frame: EncodedInstances, numbers: Sequence[int]) -> EncodedInstances:
    index = np.asarray(numbers, np.int64)
    appearance = None if frame.appearance is None else frame.appearance[index]
    return EncodedInstances(
        frame.size,
        tuple(frame.rles[i] for i in numbers),
        frame.classes[index],
        frame.scores[index],
        frame.boxes_xyxy[index],
        appearance,
    )


def _track_together(
    frames: Sequence[EncodedInstances],
    flows_backward: Sequence[np.ndarray | None],
    options: UnovostOptions,
) -> list[Track]:
    """Steps 1-7 on the proposals given."""
    proposals = [_clean(frame, options) for frame in frames]
    tracklets = _tracklets(proposals, flows_backward, options)
    trajectories = _trajectories(tracklets, proposals, options) if tracklets else []
    tracks = [_to_track(trajectory, proposals, options) for trajectory in trajectories]
    if options.ranking == "published":
        keys = [_published_score(trajectory, proposals) for trajectory in trajectories]
    else:
        keys = [track.score for track in tracks]
    order = sorted(range(len(tracks)), key=lambda i: -keys[i])[: options.max_tracks]
    best = [(tracks[i], trajectories[i]) for i in order]
    second = [_second(track, path, proposals) for track, path in best if options.second_hypothesis]
    return [track for track, _ in best] + [track for track in second if track is not None]


def _clean(frame: EncodedInstances, options: UnovostOptions) -> EncodedInstances:
    """The proposals of a frame that are good enough, not empty, and do not overlap; best score first."""
    usable = (frame.scores >= options.min_score) & (rle_areas(frame.rles) > 0)
    frame = _select(frame, np.flatnonzero(usable).tolist())
    kept = remove_overlaps(
        frame.rles, frame.scores, threshold=options.overlap_threshold, measure=options.overlap_measure
    )
    return _select(frame, kept)


def _tracklets(
    proposals: Sequence[EncodedInstances], flows: Sequence[np.ndarray | None], options: UnovostOptions
) -> list[Tracklet]:
    links = link_frames(
        [frame.rles for frame in proposals],
        flows,
        proposals[0].size if proposals else (0, 0),
        threshold=options.link_threshold,
        assignment=options.assignment,
        link_long_side=options.link_long_side,
    )
    counts = [len(frame) for frame in proposals]
    return build_tracklets(counts, links, keep_last_frame=options.keep_last_frame)


def _trajectories(
    tracklets: Sequence[Tracklet], proposals: Sequence[EncodedInstances], options: UnovostOptions
) -> list[Trajectory]:
    """Disjoint chains of tracklets, by forest path cutting."""
    if not options.merge:
        return [(tracklet,) for tracklet in tracklets]
    starts, ends = [t.start for t in tracklets], [t.end for t in tracklets]
    distances = appearance_distances(_appearance(tracklets, proposals))
    parents = find_parents(starts, ends, distances, parent_rule=options.parent_rule)
    score = partial(
        path_score,
        starts=starts,
        ends=ends,
        normalised=normalise_distances(distances),
        video_length=len(proposals),
        cover_weight=options.cover_weight,
        appearance_weight=options.appearance_weight,
        cover_measure=options.cover_measure,
    )
    return [tuple(tracklets[i] for i in path) for path in cut_paths(leaf_paths(parents), score, ends)]


def _appearance(tracklets: Sequence[Tracklet], proposals: Sequence[EncodedInstances]) -> np.ndarray:
    """Mean appearance of each tracklet (N,D) float64; (N,1) zeros when a frame with proposals has none."""
    if any(frame.appearance is None for frame in proposals if len(frame)):
        return np.zeros((len(tracklets), 1))
    return np.stack(
        [
            np.mean([np.asarray(proposals[t].appearance)[i] for t, i in tracklet.places], axis=0, dtype=float)
            for tracklet in tracklets
        ]
    )


def _places(trajectory: Trajectory) -> list[tuple[int, int]]:
    return [place for tracklet in trajectory for place in tracklet.places]


def _to_track(trajectory: Trajectory, proposals: Sequence[EncodedInstances], options: UnovostOptions) -> Track:
    """The track of a trajectory, with its elected category and its video score."""
    places = _places(trajectory)
    votes = _votes(places, proposals, options.category)
    scores = [float(proposals[t].scores[i]) for t, i in places]
    score = math.fsum(scores) / len(scores)
    if options.length_weighted_score:
        score *= len(places) / len(proposals)
    return _fill(max(votes, key=lambda c: (votes[c], -c)), score, places, proposals)


def _fill(category: int, score: float, places: list[tuple[int, int]], proposals: Sequence[EncodedInstances]) -> Track:
    number = dict(places)
    present = [number.get(t) for t in range(len(proposals))]
    pairs = list(zip(proposals, present, strict=True))
    return Track(
        category,
        score,
        tuple(None if i is None else frame.rles[i] for frame, i in pairs),
        tuple(None if i is None else float(frame.scores[i]) for frame, i in pairs),
    )


def _votes(
    places: list[tuple[int, int]], proposals: Sequence[EncodedInstances], vote: str = "summed_score"
) -> dict[int, float]:
    """Summed score, or number of frames, of every class that the proposals at `places` have."""
    votes: dict[int, float] = {}
    for t, i in places:
        category = int(proposals[t].classes[i])
        weight = float(proposals[t].scores[i]) if vote == "summed_score" else 1.0
        votes[category] = votes.get(category, 0.0) + weight
    return votes


def _published_score(trajectory: Trajectory, proposals: Sequence[EncodedInstances]) -> float:
    means = [np.mean([float(proposals[t].scores[i]) for t, i in piece.places]) for piece in trajectory]
    return accumulated_score([len(piece) for piece in trajectory], [float(m) for m in means])


def _second(track: Track, trajectory: Trajectory, proposals: Sequence[EncodedInstances]) -> Track | None:
    """The same masks with the class of the second largest summed score; score lowered by the ratio of the sums."""
    votes = _votes(_places(trajectory), proposals)
    first = votes.pop(track.category)
    if not votes:
        return None
    runner_up = max(votes, key=lambda c: (votes[c], -c))
    # Paper silent: how much lower. Ratio of the sums, at most just 1.
    score = track.score * min(1.0, votes[runner_up] / first) if first > 0 else 0.0
    return _fill(runner_up, score, _places(trajectory), proposals)
