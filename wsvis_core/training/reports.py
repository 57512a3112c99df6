"""What the batches of a step report, and the record of a step made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from wsvis_core.errors import WsvisError
from wsvis_core.training import checkpoints


@dataclass(frozen=True)
class StepResult:
    """What one batch gives: losses to sum and minimise, plain numbers to log, and what a `Watch` adds up."""

    losses: dict[str, Tensor]
    scalars: dict[str, float]
    seen: Any = None


class Watch(checkpoints.Watch, Protocol):
    """Adds up what the batches report, and tells it over many steps rather than of single ones."""

    def add(self, seen: Sequence[Any], iteration: int, iterations: int) -> None:
        """What the batches of a step reported as `StepResult.seen`, in order."""
        ...

    def record(self) -> dict[str, float]:
        """Scalars of the steps since the last record."""
        ...


@dataclass(frozen=True)
class BatchReport:
    """A finished batch in plain values, which other processes can be told."""

    name: str
    losses: dict[str, float]
    scalars: dict[str, float]
    total: float
    seen: Any


@dataclass
class Share:
    """One process's share of a step: reports by batch number, or the message of what was wrong with a batch."""

    reports: dict[int, BatchReport] = field(default_factory=dict)
    error: str | None = None


def together(shares: Sequence[Share]) -> list[BatchReport]:
    """The reports of all batches of a step in the order of their numbers; WsvisError where one of them has failed."""
    for share in shares:
        if share.error is not None:
            raise WsvisError(share.error)
    reports = {number: report for share in shares for number, report in share.reports.items()}
    return [reports[number] for number in sorted(reports)]


def step_record(iteration: int, lr: float, reports: Sequence[BatchReport], watch: Watch | None) -> dict[str, float]:
    """Means over the batches of a step, and what the watch tells.

    A loss that a batch does not have counts as 0, as in the total; a scalar is a mean over the batches that have it.
    """
    losses = _means(reports, "losses", absent=0.0)
    record = {"iteration": iteration, "lr": lr, "loss": mean_total(reports)}
    record |= {f"loss_{name.removeprefix('loss_')}": value for name, value in losses.items()}
    record |= _means(reports, "scalars", absent=None)
    return record | (watch.record() if watch is not None else {})


def mean_total(reports: Sequence[BatchReport]) -> float:
    return sum(report.total for report in reports) / len(reports)


def _means(reports: Sequence[BatchReport], part: str, *, absent: float | None) -> dict[str, float]:
    """Mean of each named number; a batch without it counts as `absent`, or not at all."""
    tables: list[dict[str, float]] = [getattr(report, part) for report in reports]
    means = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        values = [table.get(name, absent) for table in tables]
        known = [value for value in values if value is not None]
        means[name] = sum(known) / len(known)
    return means
