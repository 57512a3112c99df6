"""What a unit of a stage's work costs: from the benchmark files of earlier jobs, else from reference runs."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wsvis_core.config import Config
from wsvis_core.planning.size import DataSize
from wsvis_core.planning.work import Work, amount

# What a job writes into its log when it computes on a GPU (training/device.py).
GPU_MARK = "computing on GPU"


@dataclass(frozen=True)
class Rate:
    """Seconds of CPU, and of a claimed GPU, per unit of work. gpu_seconds None: the stage has not been seen on a GPU.

    own: measured on this data set's jobs.
    """

    cpu_seconds: float
    gpu_seconds: float | None = None
    own: bool = False


@dataclass(frozen=True)
class Spent:
    """What the last runs of a stage's jobs took, and how many units of work they were."""

    units: float
    cpu_seconds: float
    wall_seconds: float
    on_gpu: bool


def spent_so_far(logs: Path, stage: str, dataset: str, config: Config, size: DataSize) -> Spent | None:
    """The sum over the benchmark files of a stage, None without any. logs: the folder `logs/<dataset>`.

    A benchmark tells what the last attempt of a job took: of one that was killed and went on, the rest only.
    """
    folder = logs / "benchmarks"
    files = sorted([*folder.glob(f"{stage}.tsv"), *(folder / stage).rglob("*.tsv")])
    rows = [(path.relative_to(folder), row) for path in files for row in _rows(path)]
    if not rows:
        return None
    units = sum(amount(Work.of_path(stage, dataset, _below(path, stage)), config, size) for path, _ in rows)
    on_gpu = any(_computed_on_gpu(logs / path.with_suffix(".log")) for path, _ in rows)
    return Spent(units, _sum(rows, "cpu_time"), _sum(rows, "s"), on_gpu)


def own_rate(spent: Spent | None) -> Rate | None:
    """The rate of what was spent, None when nothing was, or on no work."""
    if spent is None or spent.units <= 0:
        return None
    gpu_seconds = spent.wall_seconds / spent.units if spent.on_gpu else None
    return Rate(spent.cpu_seconds / spent.units, gpu_seconds, own=True)


def _below(path: Path, stage: str) -> str:
    return "/".join(path.parts[1:]) if path.parts[0] == stage else ""


def _rows(path: Path) -> Iterable[dict[str, str]]:
    """The rows of a benchmark file whose numbers are numbers: a job of under a second has none."""
    with open(path, newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            if all(_is_number(row.get(name)) for name in ("s", "cpu_time")):
                yield row


def _is_number(text: str | None) -> bool:
    try:
        return float(text or "") >= 0
    except ValueError:
        return False


def _sum(rows: Iterable[tuple[Path, dict[str, str]]], name: str) -> float:
    return sum(float(row[name]) for _, row in rows)


def _computed_on_gpu(log: Path) -> bool:
    return log.exists() and GPU_MARK in log.read_text(errors="replace")
