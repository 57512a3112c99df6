"""The plan of a run as a table: per stage jobs, work, disk and hours, all of it and what is left to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsvis_core.config import Config
from wsvis_core.planning.jobs import PlannedJob
from wsvis_core.planning.rates import Rate, own_rate, spent_so_far
from wsvis_core.planning.reference import REFERENCE
from wsvis_core.planning.size import DataSize
from wsvis_core.planning.work import UNITS, Work, amount, megapixels


@dataclass
class StagePlan:
    """jobs, units, gigabytes, cpu_hours, gpu_hours: of all jobs · …_todo: of those that would run now.

    gpu_hours None: the stage has not been seen on a GPU. own: rates are of this data set's own jobs, else reference.
    """

    stage: str
    own: bool = True
    jobs: int = 0
    jobs_todo: int = 0
    units: float = 0.0
    units_todo: float = 0.0
    gigabytes: float = 0.0
    gigabytes_todo: float = 0.0
    cpu_hours: float = 0.0
    cpu_hours_todo: float = 0.0
    gpu_hours_todo: float | None = None


@dataclass(frozen=True)
class Plan:
    """size: of the data sets with jobs, by name · stages: in the order of UNITS, those with jobs."""

    size: Mapping[str, DataSize]
    stages: Sequence[StagePlan]
    notes: Sequence[str] = field(default=())


def make_plan(config: Config, jobs: Sequence[PlannedJob], size: Mapping[str, DataSize], logs: Path) -> Plan:
    """The plan of jobs. size: of every data set that a job is of · logs: the folder `logs` of the run."""
    rates = {key: _rate(*key, config, size, logs) for key in {(job.work.stage, job.work.dataset) for job in jobs}}
    stages: dict[str, StagePlan] = {}
    for job in jobs:
        stage, dataset = job.work.stage, job.work.dataset
        _add(stages.setdefault(stage, StagePlan(stage)), job, rates[stage, dataset], config, size[dataset])
    return Plan(size, [stages[stage] for stage in UNITS if stage in stages])


def _rate(stage: str, dataset: str, config: Config, size: Mapping[str, DataSize], logs: Path) -> Rate | None:
    """Of this data set's own jobs, None where there is none: the reference then depends on the job's settings."""
    return own_rate(spent_so_far(logs / dataset, stage, dataset, config, size[dataset]))


def _add(plan: StagePlan, job: PlannedJob, own: Rate | None, config: Config, size: DataSize) -> None:
    units = amount(job.work, config, size)
    rate = own or _reference_rate(job.work, config, size)
    gigabytes = _gigabytes(job, units, config, size)
    hours = units * rate.cpu_seconds / 3600
    plan.own = plan.own and rate.own
    plan.jobs += 1
    plan.units += units
    plan.gigabytes += gigabytes
    plan.cpu_hours += hours
    if job.todo:
        plan.jobs_todo += 1
        plan.units_todo += units
        plan.gigabytes_todo += gigabytes
        plan.cpu_hours_todo += hours
        if rate.gpu_seconds is not None:
            plan.gpu_hours_todo = (plan.gpu_hours_todo or 0.0) + units * rate.gpu_seconds / 3600


def _reference_rate(work: Work, config: Config, size: DataSize) -> Rate:
    return Rate(REFERENCE[work.stage].cpu_seconds * megapixels(work, config, size))


def _gigabytes(job: PlannedJob, units: float, config: Config, size: DataSize) -> float:
    """Of the results that are there their size, else that of the reference runs."""
    there = [path.stat().st_size for path in job.outputs if path.exists()]
    if there:
        return sum(there) / 1e9
    reference = REFERENCE[job.work.stage]
    return (reference.job_bytes + reference.bytes * units * megapixels(job.work, config, size)) / 1e9


def plan_lines(plan: Plan) -> list[str]:
    """The plan as lines of text, for a terminal."""
    head = ("stage", "jobs", "to do", "work to do", "disk GB", "CPU h", "GPU h", "rate")
    rows = [_row(stage) for stage in plan.stages]
    total = (
        "total",
        str(sum(s.jobs for s in plan.stages)),
        str(sum(s.jobs_todo for s in plan.stages)),
        "",
        _number(sum(s.gigabytes_todo for s in plan.stages)),
        _number(sum(s.cpu_hours_todo for s in plan.stages)),
        _number(sum(s.gpu_hours_todo or 0.0 for s in plan.stages)) if _all_known(plan) else "?",
        "",
    )
    sizes = [
        f"{name}: {s.videos['train']} videos to train on and {s.videos['val']} to track in, "
        f"{s.frames['train']} and {s.frames['val']} frames of about {s.width}×{s.height} ({s.source})"
        for name, s in plan.size.items()
    ]
    return [*sizes, "", *_aligned([head, *rows, total]), "", *_notes(plan)]


def _all_known(plan: Plan) -> bool:
    return all(s.gpu_hours_todo is not None for s in plan.stages if s.jobs_todo and s.stage in GPU_STAGES)


def _row(stage: StagePlan) -> tuple[str, ...]:
    gpu = (
        "" if stage.stage not in GPU_STAGES else "?" if stage.gpu_hours_todo is None else _number(stage.gpu_hours_todo)
    )
    nothing = stage.jobs_todo == 0
    return (
        stage.stage,
        str(stage.jobs),
        str(stage.jobs_todo),
        "" if nothing else f"{stage.units_todo:,.0f} {UNITS[stage.stage]}",
        "" if nothing else _number(stage.gigabytes_todo),
        "" if nothing else _number(stage.cpu_hours_todo),
        "" if nothing else gpu,
        "" if nothing else "own" if stage.own else "reference",
    )


GPU_STAGES = frozenset(
    {"train_cam", "extract_cam", "train_flowirn", "make_pseudo_labels", "train_maskconsist", "predict_masks"}
    | {"show_transfers"}
)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _notes(plan: Plan) -> list[str]:
    notes = [
        "Disk, CPU and GPU hours are those of what is to do. Rates: 'own' from the benchmark files of this data",
        "set's jobs under logs/; 'reference' from docs/cluster.md, scaled by the pixels a stage sees: an order of",
        "magnitude. CPU hours are of one core; jobs share several, but trainings mostly wait for each other.",
    ]
    if not _all_known(plan):
        notes.append("GPU h '?': not known until a job of the stage has run on a GPU; CPU h is without one.")
    return notes
