"""Trackers behind one interface: instances of every frame to tracks of a whole video."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wsvis_core.config import TrackingSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.tracking.assemble import assemble_tracks
from wsvis_core.tracking.deepsort import link_deepsort
from wsvis_core.tracking.iou_tracker import link_iou
from wsvis_core.tracking.masktrack import link_masktrack
from wsvis_core.tracking.proposals import clean_proposals, of_class, of_classes, without_appearance
from wsvis_core.tracking.tracks import Chain, Track
from wsvis_core.tracking.unovost import link_unovost

Proposals = Sequence[EncodedInstances]
Flows = Sequence[np.ndarray | None]
# By the names of `tracking.kind` (docs/add_tracker.md).
LINKERS: dict[str, Callable[[Proposals, Flows, TrackingSettings], list[Chain]]] = {
    "unovost": lambda proposals, flows, settings: link_unovost(proposals, flows, settings.unovost),
    "iou": lambda proposals, flows, settings: link_iou(proposals, settings.iou),
    "deepsort": lambda proposals, flows, settings: link_deepsort(proposals, settings.deepsort),
    "masktrack": lambda proposals, flows, settings: link_masktrack(proposals, settings.masktrack),
}


def track_video(
    frames: Proposals,
    flows_backward: Flows,
    settings: TrackingSettings | None = None,
    *,
    video_length: int | None = None,
    given: np.ndarray | None = None,
) -> list[Track]:
    """Tracks of one video, best first; [] when no proposal is good enough.

    frames: instances of each of T frames, masks at one frame size (H, W) · flows_backward: T-1 fields
    F_{t+1→t} (2,h,w), pixels of their own array, or None (no movement assumed); only UnOVOST looks at them ·
    settings: `kind` names the tracker; default: all defaults · video_length: must be T, where it is not None · given:
    classes that each frame is known to have (T,C) bool; proposals of others are not used, and no track has a mask in a
    frame without its class. None: nothing is known. Appearance is used when every proposal has it; otherwise all are
    taken as equally (un)like. A proposal is in one track at most. Raises ValueError for lengths that disagree.
    """
    settings = settings or TrackingSettings()
    _check_lengths(frames, flows_backward, video_length)
    if given is not None:
        if len(given) != len(frames):
            raise ValueError(f"there are class labels of {len(given)} frames, but instances of {len(frames)}")
        frames = [of_classes(frame, wanted) for frame, wanted in zip(frames, given, strict=True)]
    proposals = [clean_proposals(frame, settings) for frame in frames]
    if settings.appearance == "none":
        proposals = without_appearance(proposals)
    link = LINKERS[settings.kind]
    groups = [proposals]
    if settings.per_class:
        classes = sorted({int(c) for frame in proposals for c in frame.classes})
        groups = [[of_class(frame, wanted) for frame in proposals] for wanted in classes]
    tracks = [
        track
        for group in groups
        for track in assemble_tracks(link(group, flows_backward, settings), group, settings, given)
    ]
    return sorted(tracks, key=lambda track: -track.score) if settings.per_class else tracks


def _check_lengths(frames: Proposals, flows: Flows, video_length: int | None) -> None:
    if video_length is not None and video_length != len(frames):
        raise ValueError(f"video_length is {video_length}, but there are instances of {len(frames)} frames")
    if len(flows) != max(len(frames) - 1, 0):
        raise ValueError(f"{len(frames)} frames need {max(len(frames) - 1, 0)} flows, got {len(flows)}")
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) > 1:
        raise ValueError(f"frames of one video have different sizes: {sizes}")
