"""Parts of a track's quality, each 0..1, that need no ground truth (docs/quality.md).

Letters: N tracks of one video, T its frames. NaN stands for "not known", which is not 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wsvis_core.flow.warp import resize_flow
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.carry import LabelPicture, carried_ious, label_picture
from wsvis_core.tracking.overlap import rle_areas, rle_ious

Masks = Sequence[Rle | None]
# What every track has, and what it may lack.
ALWAYS_KNOWN = ("score", "labels")
PARTS = (*ALWAYS_KNOWN, "stability", "agreement")


@dataclass(frozen=True)
class TrackParts:
    """The parts of one track; None where a part is not known.

    score: detection score, mean over the track's frames · labels: IoU in time of the frames with a mask and the frames
    that the class labels give the track's class · stability: IoU of its masks, carried along the flow, with those of
    the next frame, mean · agreement: best IoU with a mask of its class of the round before, mean over its frames.
    first, last: frames, from 0 · frames: number of masks · weakest: the frame whose own stability and agreement are
    least, None where no frame has any · cover: share of the frame that a mask holds, mean. It is not counted, but a
    track that holds nearly all of its frames is most often the background.
    """

    score: float
    labels: float
    stability: float | None
    agreement: float | None
    first: int
    last: int
    frames: int
    weakest: int | None
    cover: float

    def known(self) -> dict[str, float]:
        """The parts that are known, by name."""
        values = {name: getattr(self, name) for name in PARTS}
        return {name: value for name, value in values.items() if value is not None}


def track_parts(
    score: float, masks: Masks, labelled: np.ndarray, stability: np.ndarray, agreement: np.ndarray
) -> TrackParts:
    """The parts of a track with at least one mask.

    masks T · labelled (T,) bool: the class labels give its class · stability (T-1,): of frames t and t+1 ·
    agreement (T,): of each frame; both float64 with NaN where not known.
    """
    present = np.array([mask is not None for mask in masks])
    frames = np.flatnonzero(present)
    return TrackParts(
        score=float(score),
        labels=float((present & labelled).sum() / (present | labelled).sum()),
        stability=_mean(stability),
        agreement=_mean(agreement),
        first=int(frames[0]),
        last=int(frames[-1]),
        frames=len(frames),
        weakest=_weakest(frames, stability, agreement),
        cover=_cover([mask for mask in masks if mask is not None]),
    )


def _cover(masks: Sequence[Rle]) -> float:
    height, width = masks[0]["size"]
    return float(rle_areas(masks).mean() / (height * width))


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _weakest(frames: np.ndarray, stability: np.ndarray, agreement: np.ndarray) -> int | None:
    """The frame with the least mean of what is known of it: stability from before, to the next, agreement."""
    around = np.concatenate([[np.nan], stability, [np.nan]])
    evidence = [_mean(np.array([around[t], around[t + 1], agreement[t]])) for t in frames]
    known = [(value, int(t)) for value, t in zip(evidence, frames, strict=True) if value is not None]
    return min(known)[1] if known else None


def pair_stabilities(
    tracks: Sequence[Masks], size: tuple[int, int], flows_backward: Iterable[np.ndarray | None]
) -> np.ndarray:
    """IoU of every track's mask of frame t, carried to t+1, with its mask of t+1 → (N,T-1) float64.

    tracks: N times T masks of frames of (H, W) = size · flows_backward: T-1 fields F_{t+1→t} (2,h,w) in pixels of their
    own array, or None where frames are too far apart. NaN there, and where a track lacks one of the masks.

    The carried masks are those of tracking/carry.py: at exactly ½ a pixel is inside. `flow.warp.warp_masks` loses some
    of such pixels to rounding, and a mask that moves by half pixels would look less stable than it is. Occluded pixels
    count: that the flow cannot say where an object went is a reason to look.
    """
    length = len(tracks[0]) if tracks else 1
    found = np.full((len(tracks), max(length - 1, 0)), np.nan)
    before = _picture(tracks, 0, size)
    for t, flow in enumerate(flows_backward):
        after = _picture(tracks, t + 1, size)
        common = np.intersect1d(before[0], after[0])
        if flow is not None and len(common):
            field = resize_flow(torch.from_numpy(np.asarray(flow, np.float32)), size).numpy()
            ious = carried_ious(before[1], after[1], field)
            rows, columns = np.searchsorted(before[0], common), np.searchsorted(after[0], common)
            found[common, t] = ious[rows, columns]
        before = after
    return found


def _picture(tracks: Sequence[Masks], t: int, size: tuple[int, int]) -> tuple[np.ndarray, LabelPicture]:
    """Numbers of the tracks with a mask in frame t, ascending, and these masks as one picture."""
    masks = {n: track[t] for n, track in enumerate(tracks) if track[t] is not None} if tracks else {}
    return np.array(list(masks), np.int64), label_picture(list(masks.values()), size, size)


def frame_agreements(
    tracks: Sequence[Masks], classes: Sequence[int], previous: Iterable[EncodedInstances] | None
) -> np.ndarray:
    """Best IoU of every mask with a prediction of its track's class by the round before → (N,T) float64.

    classes: class index of each track · previous: that round's predictions of all T frames; None: there was no such
    round. NaN there, and where a track has no mask; 0 where the round before found nothing of the class.
    """
    length = len(tracks[0]) if tracks else 0
    found = np.full((len(tracks), length), np.nan)
    for t, frame in enumerate(previous if previous is not None and tracks else ()):
        present = [n for n, track in enumerate(tracks) if track[t] is not None]
        ious = rle_ious([tracks[n][t] for n in present], frame.rles)
        same = np.array([classes[n] for n in present], np.int64)[:, None] == frame.classes[None, :]
        found[present, t] = np.where(same, ious, 0.0).max(axis=1, initial=0.0)
    return found
