"""DeepSORT: a Kalman filter says where, appearance says who, recent tracks choose first (docs/method.md §6.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wsvis_core.config import DeepsortSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.tracking.assignment import Pair, box_ious, match_costs
from wsvis_core.tracking.kalman import KalmanFilter, to_measurements
from wsvis_core.tracking.proposals import appearance_of, unit_vectors
from wsvis_core.tracking.tracks import Chain, Place


@dataclass
class _Target:
    """A track as it grows. missed: frames since its last match."""

    mean: np.ndarray
    covariance: np.ndarray
    category: int
    places: list[Place]
    gallery: list[np.ndarray] = field(default_factory=list)
    missed: int = 0

    @property
    def box_xyxy(self) -> np.ndarray:
        x, y, aspect, height = self.mean[:4]
        half = np.array([aspect * height, height]) / 2
        return np.concatenate([[x, y] - half, [x, y] + half])


@dataclass(frozen=True)
class _Frame:
    """Proposals of a frame: boxes (M,4) xyxy, measurements (M,4), classes (M,), unit appearance vectors (M,D)."""

    boxes: np.ndarray
    measurements: np.ndarray
    classes: np.ndarray
    vectors: np.ndarray


def link_deepsort(proposals: Sequence[EncodedInstances], settings: DeepsortSettings) -> list[Chain]:
    """Chains of T frames of proposals, best score first; looks at boxes and appearance, not at flow.

    Whole chains come back, the frames before confirmation included; what was never confirmed is left out. Without
    appearance every cosine distance is 1: only box IoU links, so a missed frame ends a track.
    """
    tracker = _Deepsort(settings)
    for t, (frame, vectors) in enumerate(zip(proposals, appearance_of(proposals), strict=True)):
        boxes = np.asarray(frame.boxes_xyxy, np.float64)
        tracker.step(t, _Frame(boxes, to_measurements(boxes), frame.classes, unit_vectors(vectors)))
    return tracker.chains()


class _Deepsort:
    """The tracks alive and those that ended."""

    def __init__(self, settings: DeepsortSettings) -> None:
        self._settings = settings
        self._filter = KalmanFilter(settings.position_std, settings.velocity_std)
        self._alive: list[_Target] = []
        self._ended: list[_Target] = []

    def chains(self) -> list[Chain]:
        """All confirmed tracks, in the order they began."""
        found = [target.places for target in self._ended + self._alive if self._is_confirmed(target)]
        return [Chain(tuple(places)) for places in sorted(found)]

    def _is_confirmed(self, target: _Target) -> bool:
        return len(target.places) >= self._settings.confirm_hits

    def step(self, t: int, frame: _Frame) -> None:
        """Predict, match, update, begin and end tracks."""
        self._predict()
        pairs = self._match(frame)
        self._update(t, frame, pairs)
        taken = {proposal for _, proposal in pairs}
        for number in range(len(frame.classes)):
            if number not in taken:
                mean, covariance = self._filter.start(frame.measurements[number])
                target = _Target(mean, covariance, int(frame.classes[number]), [(t, number)])
                self._remember(target, frame.vectors[number])
                self._alive.append(target)

    def _predict(self) -> None:
        if not self._alive:
            return
        means, covariances = self._states(self._alive)
        for target, mean, covariance in zip(self._alive, *self._filter.predict(means, covariances), strict=True):
            target.mean, target.covariance = mean, covariance
            target.missed += 1

    @staticmethod
    def _states(targets: Sequence[_Target]) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([x.mean for x in targets]), np.stack([x.covariance for x in targets])

    def _match(self, frame: _Frame) -> list[Pair]:
        """(track, proposal): a cascade over confirmed tracks by appearance, then what is left over by box IoU."""
        free = list(range(len(frame.classes)))
        confirmed = [n for n, target in enumerate(self._alive) if self._is_confirmed(target)]
        pairs: list[Pair] = []
        for missed in sorted({self._alive[n].missed for n in confirmed}):
            level = [n for n in confirmed if self._alive[n].missed == missed]
            limit = self._settings.max_appearance_distance
            pairs += self._match_some(level, free, frame, self._appearance_costs, limit)
            free = _without(free, [b for _, b in pairs])
        matched = {a for a, _ in pairs}
        # A track that missed a frame is found again by its looks only.
        rest = [n for n, target in enumerate(self._alive) if n not in matched and target.missed == 1]
        return pairs + self._match_some(rest, free, frame, self._iou_costs, self._settings.max_iou_distance)

    def _match_some(self, tracks: list[int], free: list[int], frame: _Frame, costs_of, limit: float) -> list[Pair]:
        """Pairs of some tracks with free proposals, costs above `limit` and other classes forbidden."""
        if not tracks or not free:
            return []
        targets = [self._alive[n] for n in tracks]
        costs = costs_of(targets, frame, free)
        if self._settings.same_class:
            differ = np.array([x.category for x in targets])[:, None] != frame.classes[free][None, :]
            costs = np.where(differ, np.inf, costs)
        return [(tracks[a], free[b]) for a, b in match_costs(costs, limit)]

    def _appearance_costs(self, targets: Sequence[_Target], frame: _Frame, free: Sequence[int]) -> np.ndarray:
        """Smallest cosine distance to a track's gallery (N,M); inf where the filter thinks the place impossible."""
        wanted = frame.vectors[free]
        costs = np.stack([1.0 - (np.stack(x.gallery) @ wanted.T).max(axis=0) for x in targets])
        distances = self._filter.distances(*self._states(targets), frame.measurements[free])
        return np.where(distances > self._settings.gate, np.inf, costs)

    @staticmethod
    def _iou_costs(targets: Sequence[_Target], frame: _Frame, free: Sequence[int]) -> np.ndarray:
        return 1.0 - box_ious(np.stack([x.box_xyxy for x in targets]), frame.boxes[free])

    def _update(self, t: int, frame: _Frame, pairs: Sequence[Pair]) -> None:
        """Give matched tracks their proposal; end tracks that were missed too long, or before they were confirmed."""
        if pairs:
            targets, numbers = [self._alive[a] for a, _ in pairs], [b for _, b in pairs]
            states = self._filter.update(*self._states(targets), frame.measurements[numbers])
            for target, number, mean, covariance in zip(targets, numbers, *states, strict=True):
                target.mean, target.covariance, target.missed = mean, covariance, 0
                target.places.append((t, number))
                self._remember(target, frame.vectors[number])
        gone = [x for x in self._alive if x.missed > (self._settings.max_age if self._is_confirmed(x) else 0)]
        self._ended += gone
        self._alive = [x for x in self._alive if not any(x is other for other in gone)]

    def _remember(self, target: _Target, vector: np.ndarray) -> None:
        target.gallery.append(vector)
        if self._settings.gallery is not None:
            del target.gallery[: -self._settings.gallery]


def _without(numbers: Sequence[int], taken: Sequence[int]) -> list[int]:
    return [number for number in numbers if number not in set(taken)]
