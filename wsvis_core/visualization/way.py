"""The way from label to track of one class in one video: what is there at every step, and the first step that fails.

Letters: T frames of the video, F of them labelled with the class. Nothing here needs ground truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.overlap import rle_ious

# Chosen, not fitted: 0.05 is where the trust section says "almost surely wrong".
MOST_OF_THE_FRAME = 0.6
STEADY_LABELS = 0.3
FOLLOWING_MASKS = 0.3
LITTLE_TRUST = 0.05

NO_LABEL = "no usable label"
WIDE_LABEL = "label holds most of the frame"
JUMPING_LABEL = "labels jump"
NOT_FOLLOWED = "the detector does not follow its labels"
NO_TRACK = "masks found, no track"
SHORT_TRACK = "the track is there in less than half of the frames"
DOUBTFUL_TRACK = "a track, almost surely wrong"
STEADY = "looks steady"
# In the order of the pipeline: of several steps that fail, the first is named.
VERDICTS = (NO_LABEL, WIDE_LABEL, JUMPING_LABEL, NOT_FOLLOWED, NO_TRACK, SHORT_TRACK, DOUBTFUL_TRACK, STEADY)

Rles = Sequence[Rle]
Rank = tuple[int, float, int]
LAST: Rank = (3, 1.0, len(VERDICTS))


class FoundTrack(NamedTuple):
    """A track: number from 1 within its video, T masks or None, estimate of trust and weakest frame where known."""

    number: int
    masks: Sequence[Rle | None]
    estimate: float | None = None
    weakest: int | None = None


@dataclass(frozen=True)
class ClassSteps:
    """What each step made of one class, frame by frame.

    labelled (T,) bool: the class labels give the class · labels, masks: T times the RLEs of its pseudo-labels, and of
    the published route's masks · covers (T,) share of the frame that the labels hold together, 0..1 · steadiness
    (T-1,): IoU of the labels together with those of the next frame, carried along the flow or as they are; NaN where
    not known · track: the most trusted of the class, None without.
    """

    name: str
    labelled: np.ndarray
    labels: Sequence[Rles]
    masks: Sequence[Rles]
    covers: np.ndarray
    steadiness: np.ndarray
    track: FoundTrack | None


@dataclass(frozen=True)
class ClassWay:
    """One class that the labels of a video name. Counts are of the F ≥ 1 labelled frames, shares are 0..1.

    with_label, with_mask, with_track: frames with a pseudo-label, with a mask of the published route, with a mask of
    the most trusted track · cover: what the labels hold of a frame, mean of the frames with a label · steadiness: IoU
    of the labels of neighbouring frames, mean · agreement: best IoU of a label with a mask, mean; each None where
    nothing is to be compared · track, estimate: number and estimate of that track, None without.
    """

    name: str
    labelled: int
    with_label: int
    with_mask: int
    with_track: int
    cover: float | None = None
    steadiness: float | None = None
    agreement: float | None = None
    track: int | None = None
    estimate: float | None = None

    @property
    def verdict(self) -> str:
        """The first step that fails, in the order of the pipeline."""
        failed = {
            NO_LABEL: 2 * self.with_label < self.labelled,
            WIDE_LABEL: self.cover is not None and self.cover > MOST_OF_THE_FRAME,
            JUMPING_LABEL: self.steadiness is not None and self.steadiness < STEADY_LABELS,
            NOT_FOLLOWED: self.agreement is not None and self.agreement < FOLLOWING_MASKS,
            NO_TRACK: self.track is None,
            SHORT_TRACK: 2 * self.with_track < self.labelled,
            DOUBTFUL_TRACK: self.estimate is not None and self.estimate < LITTLE_TRUST,
        }
        return next((name for name in VERDICTS if failed.get(name)), STEADY)

    @property
    def rank(self) -> Rank:
        """Worst first: no usable label, then no track, then by the estimate; of equal ones the earlier failure."""
        group = 0 if self.verdict == NO_LABEL else 1 if self.track is None else 2
        return group, 1.0 if self.estimate is None else self.estimate, VERDICTS.index(self.verdict)


@dataclass(frozen=True)
class WayMoment:
    """A frame to look at and why; JPEGs of some layers by their title, all of size (h, w), where there was room."""

    frame: int
    why: str
    size: tuple[int, int] = (0, 0)
    pictures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class VideoWay:
    """A video with the classes that its labels name, worst first, and its worst moments in time order."""

    video_id: int
    name: str
    classes: Sequence[ClassWay] = ()
    moments: Sequence[WayMoment] = ()

    @property
    def rank(self) -> Rank:
        """That of its worst class; last of all without a class."""
        return min((found.rank for found in self.classes), default=LAST)


@dataclass(frozen=True)
class Way:
    """The videos, worst first. of: all that could have been looked at · choice: a route.json, None without a choice."""

    videos: Sequence[VideoWay] = ()
    of: int = 0
    choice: Mapping[str, Any] | None = None


def class_way(steps: ClassSteps) -> ClassWay:
    """The numbers of a class with at least one labelled frame."""
    labelled, track = steps.labelled, steps.track
    has_label = labelled & _any(steps.labels)
    both = has_label[:-1] & has_label[1:]
    return ClassWay(
        steps.name,
        labelled=int(labelled.sum()),
        with_label=int(has_label.sum()),
        with_mask=int((labelled & _any(steps.masks)).sum()),
        with_track=int((labelled & _tracked(steps)).sum()),
        cover=_mean(steps.covers[has_label]),
        steadiness=_mean(steps.steadiness[both]),
        agreement=_mean(label_fits(steps.labels, steps.masks)[has_label]),
        track=None if track is None else track.number,
        estimate=None if track is None else track.estimate,
    )


def label_fits(labels: Sequence[Rles], masks: Sequence[Rles]) -> np.ndarray:
    """IoU of every label with its best mask, mean over the labels of a frame → (T,); NaN without a label."""
    return np.array(
        [
            rle_ious(own, found).max(axis=1, initial=0.0).mean() if own else np.nan
            for own, found in zip(labels, masks, strict=True)
        ]
    )


def worst_moments(steps: ClassSteps) -> Iterator[WayMoment]:
    """Frames of a class, the most telling first: one of every kind, then those where label and mask agree least.

    A frame may come more than once, with another reason.
    """
    name, track, labelled = steps.name, steps.track, steps.labelled
    fits, has_label = label_fits(steps.labels, steps.masks), labelled & _any(steps.labels)
    apart = sorted(np.flatnonzero(has_label).tolist(), key=lambda t: fits[t])
    moments = {
        "weak": [] if track is None or track.weakest is None else [track.weakest],
        "lost": _middle(has_label & ~_tracked(steps)),
        "apart": apart,
        "bare": _middle(labelled & ~has_label),
    }
    words = {
        "weak": f"{name}: the weakest frame of track {track.number}" if track else "",
        "lost": f"{name}: a label, but no track",
        "bare": f"{name}: no label",
    }
    kinds = ("weak", "lost", "apart", "bare") if 2 * has_label.sum() >= labelled.sum() else ("bare", "weak", "apart")
    first = [(kind, t) for kind in kinds for t in moments[kind][:1]]
    for kind, t in [*first, *(("apart", t) for t in apart), *(("bare", t) for t in moments["bare"])]:
        yield WayMoment(t, words.get(kind) or f"{name}: {_apart(fits[t], steps.masks[t])}")


def _apart(fit: float, masks: Rles) -> str:
    return f"IoU of label and mask {100 * fit:.0f}" if masks else "a label, but no mask"


def _any(frames: Sequence[Rles]) -> np.ndarray:
    """Which of T frames have an RLE: bool (T,)."""
    return np.array([len(rles) > 0 for rles in frames], bool)


def _tracked(steps: ClassSteps) -> np.ndarray:
    """Which of T frames have a mask of the track: bool (T,)."""
    if steps.track is None:
        return np.zeros(len(steps.labelled), bool)
    return np.array([mask is not None for mask in steps.track.masks], bool)


def _middle(chosen: np.ndarray) -> list[int]:
    """The frames of a bool (T,), from the one in the middle outwards."""
    frames = np.flatnonzero(chosen).tolist()
    return sorted(frames, key=lambda t: abs(frames.index(t) - len(frames) // 2))


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
