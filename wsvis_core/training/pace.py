"""When a run writes its checkpoints: after the first step, soon again, and later for a small share of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What writing a checkpoint may take, as a share of the work since the one before. The first few of a start take more,
# and so do dear ones, which come no later than `longest`.
SHARE = 0.03


def next_wait(last_wait: float, cost: float, longest: float) -> float:
    """Seconds of work from a checkpoint to the next one.

    last_wait: seconds of work that were asked for before this checkpoint, 0 for the first. cost: seconds that writing
    it took. The wait is `cost` after the first checkpoint and then doubles until it is `cost` / SHARE; it is never
    more than `longest`. So a kill loses no more than half of what was done since the start, give or take a checkpoint
    and a step. With cost 1 and longest 60 the waits are 0, 1, 2, 4, 8, 16, 32, 33.3, 33.3 …
    """
    return min(max(2 * last_wait, cost), cost / SHARE, longest)


class CheckpointPace:
    """Tells one start of a run when a checkpoint is due; the first one is due at once.

    longest: the most seconds of work between two checkpoints; 0 makes one due after every step. clock: seconds that
    never go back, from any origin.
    """

    def __init__(self, longest: float, clock: Callable[[], float]) -> None:
        self._longest, self._clock = longest, clock
        self._wait, self._written_at = 0.0, clock()

    def due(self) -> bool:
        """Has there been work enough since the last checkpoint?"""
        return self._clock() - self._written_at >= self._wait

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The block writes a checkpoint; how long it takes decides when the next one is due."""
        began = self._clock()
        yield
        self._written_at = self._clock()
        self._wait = next_wait(self._wait, self._written_at - began, self._longest)
