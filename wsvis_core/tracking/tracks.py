"""Track: one object through a video. Chain: which proposals a tracker says are one object."""

from __future__ import annotations

from dataclasses import dataclass

from wsvis_core.storage.rle import Rle

Place = tuple[int, int]


@dataclass(frozen=True)
class Chain:
    """Proposals of one object: (frame, number of the proposal in it), at most one per frame, frames ascending.

    ranking: the tracker's own score for which chains are kept; None where the track's score decides.
    """

    places: tuple[Place, ...]
    ranking: float | None = None


@dataclass(frozen=True)
class Track:
    """One object through a video of T frames.

    category is a class index 0..C-1 (not a data set id) · score ranks the track within its video ·
    segmentations T compressed RLEs at the original frame size, None where the object is absent ·
    frame_scores T detection scores, None where absent.
    """

    category: int
    score: float
    segmentations: tuple[Rle | None, ...]
    frame_scores: tuple[float | None, ...]

    def __post_init__(self) -> None:
        if len(self.segmentations) != len(self.frame_scores):
            raise ValueError(f"{len(self.segmentations)} masks but {len(self.frame_scores)} frame scores")

    def __len__(self) -> int:
        return len(self.segmentations)

    @property
    def present(self) -> tuple[int, ...]:
        """Indices of the frames in which the object has a mask, ascending."""
        return tuple(t for t, mask in enumerate(self.segmentations) if mask is not None)
