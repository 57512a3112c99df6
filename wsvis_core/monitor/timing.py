"""How long the rest of a run takes: from its own finished jobs, then from the benchmark files of earlier ones.

Reference rates (`wsvis plan`) are not used: on small data sets they are off by a factor of 0.04 to 1000.
"""

from __future__ import annotations

import csv
import heapq
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wsvis_core.monitor.run import DONE, RUNNING, WAITING, Job, Run
from wsvis_core.notes import Note

Key = tuple[str, str]


@dataclass(frozen=True)
class TimeLeft:
    """seconds: of what is known, None when nothing is. unknown: stages that have never been timed here."""

    seconds: float | None
    unknown: tuple[str, ...] = ()


def benchmark_seconds(jobs: Iterable[Job], project: Path) -> dict[Key, float]:
    """Mean wall time of earlier jobs per stage and data set, from the benchmark files that are there."""
    found: dict[Key, list[float]] = {}
    for job in jobs:
        seconds = _seconds(project / job.benchmark) if job.benchmark else None
        if seconds is not None:
            found.setdefault((job.stage, job.dataset), []).append(seconds)
    return {key: sum(values) / len(values) for key, values in found.items()}


def _seconds(path: Path) -> float | None:
    try:
        with open(path, newline="") as stream:
            value = float(next(csv.DictReader(stream, delimiter="\t"))["s"])
    except (OSError, ValueError, KeyError, StopIteration, TypeError):
        return None
    return value if math.isfinite(value) and value >= 0 else None


def job_seconds(run: Run, earlier: Mapping[Key, float]) -> dict[Key, float]:
    """What a job of a stage and data set takes: as in this run, else as earlier."""
    found: dict[Key, list[float]] = {}
    for job in run.of(DONE):
        if job.began is not None and job.ended is not None:
            found.setdefault((job.stage, job.dataset), []).append(job.ended - job.began)
    return {**earlier, **{key: sum(values) / len(values) for key, values in found.items()}}


def rest_of_job(job: Job, note: Note | None, seconds: float | None, now: float) -> float | None:
    """Seconds that a running job still takes: by its own count, else by what such jobs take; None: unknown."""
    if note is not None and note.done > note.start and note.time > note.began:
        return max((note.time - note.began) / (note.done - note.start) * (note.total - note.done), 0.0)
    return None if seconds is None or job.began is None else max(seconds - (now - job.began), 0.0)


def time_left(run: Run, notes: Mapping[int, Note | None], earlier: Mapping[Key, float], now: float) -> TimeLeft:
    """What the jobs that run and wait will take together, jobs of stages that were never timed left out."""
    seconds = job_seconds(run, earlier)
    rest: dict[int, float | None] = {}
    for job in run.jobs.values():
        usual = seconds.get((job.stage, job.dataset))
        if job.state == RUNNING:
            rest[job.id] = rest_of_job(job, notes.get(job.id), usual, now)
        elif job.state == WAITING:
            rest[job.id] = usual
    unknown = tuple(dict.fromkeys(run.jobs[key].stage for key, value in rest.items() if value is None))
    if rest and all(value is None for value in rest.values()):
        return TimeLeft(None, unknown)
    return TimeLeft(_schedule(run, {key: value or 0.0 for key, value in rest.items()}), unknown)


def _schedule(run: Run, rest: Mapping[int, float]) -> float:
    """Seconds until the last job ends when each starts as soon as what it needs is done and there is room for it.

    A job that failed or was done before stands in nobody's way. Queues are first come, first served, one for jobs with
    a GPU and one for the others.
    """
    cores = math.inf if run.cores is None else run.cores
    gpus = math.inf if run.gpus is None else run.gpus
    blockers = {key: sum(1 for need in run.jobs[key].needs if need in rest) for key in rest}
    after: dict[int, list[int]] = {}
    for key in rest:
        for need in run.jobs[key].needs:
            after.setdefault(need, []).append(key)
    queues: tuple[deque[int], deque[int]] = (deque(), deque())
    for key in sorted(rest, key=lambda key: run.jobs[key].state != RUNNING):
        if blockers[key] == 0 or run.jobs[key].state == RUNNING:
            queues[run.jobs[key].gpu > 0].append(key)
    ends: list[tuple[float, int]] = []
    moment = 0.0
    while True:
        for queue in queues:
            while queue and _room(run.jobs[queue[0]], cores, gpus, idle=not ends):
                key = queue.popleft()
                cores, gpus = cores - run.jobs[key].threads, gpus - run.jobs[key].gpu
                heapq.heappush(ends, (moment + rest[key], key))
        if not ends:
            return moment
        moment, key = heapq.heappop(ends)
        cores, gpus = cores + run.jobs[key].threads, gpus + run.jobs[key].gpu
        for follower in after.get(key, ()):
            blockers[follower] -= 1
            if blockers[follower] == 0 and run.jobs[follower].state != RUNNING:
                queues[run.jobs[follower].gpu > 0].append(follower)


def _room(job: Job, cores: float, gpus: float, *, idle: bool) -> bool:
    """idle: nothing else runs, so that a job larger than the machine is let in."""
    return idle or (job.threads <= cores and job.gpu <= gpus)
