"""Which frames of a video become annotated frames: one for every tick of a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Protocol, TypeVar


class Timed(Protocol):
    """Anything with a time in seconds."""

    @property
    def time(self) -> Fraction: ...


F = TypeVar("F", bound=Timed)


def nearest_to_ticks(frames: Iterable[F], fps: Fraction) -> Iterator[tuple[F, bool]]:
    """Every frame with whether it is the nearest to some tick; of two equally near ones the earlier is.

    frames: in order of increasing time, any rate, constant or not · ticks: k / fps seconds after the first frame,
    k = 0, 1, …, until the last frame has been seen for half as long as the one before. A frame is taken once at most:
    where ticks are closer than frames, all are taken. One frame is held back, no more.
    """
    start, served, half = Fraction(0), 0, Fraction(0)
    held: F | None = None
    for frame in frames:
        if held is None:
            start = frame.time
        else:
            half = (frame.time - held.time) / 2
            due = _ticks_until(held.time + half - start, fps)
            yield held, due > served
            served = due
        held = frame
    if held is not None:
        yield held, _ticks_until(held.time + half - start, fps) > served


def first_of_each_tick(frames: Iterable[F], fps: Fraction, wanted: Callable[[F], bool]) -> Iterator[tuple[F, bool]]:
    """Every frame with whether it is the first wanted one since a tick (k / fps seconds after the first wanted frame).

    For frames labelled one by one, whose neighbours may have no label: so every one that is taken has its own.
    """
    start, served = None, -1
    for frame in frames:
        if not wanted(frame):
            yield frame, False
            continue
        start = frame.time if start is None else start
        tick = _ticks_until(frame.time - start, fps)
        yield frame, tick > served
        served = tick


def _ticks_until(elapsed: Fraction, fps: Fraction) -> int:
    """Number of ticks from the first, at 0, to `elapsed` seconds, both included."""
    return int(elapsed * fps // 1) + 1
