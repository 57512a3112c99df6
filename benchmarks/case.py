"""What a benchmark case is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A benchmark: its name, what it is compared with, and a function that gives (ours, alternative).

    repeats of ours and of the alternative; the smallest time of each counts. memory: measure the peak of both, each in
    a process of its own. error: how far ours is from the truth, as a text.
    """

    name: str
    alternative: str
    prepare: Callable[[], tuple[Call, Call]]
    repeats: tuple[int, int] = (5, 3)
    memory: bool = False
    error: Callable[[], str] | None = None
