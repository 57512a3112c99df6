"""A run in words: the live view of a terminal, one plain line for a log file, the page of `wsvis status`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wsvis_core.monitor.run import BEFORE, DONE, FAILED, RUNNING, WAITING, Job, Run, per_stage
from wsvis_core.monitor.timing import TimeLeft
from wsvis_core.notes import Note

GREEN, YELLOW, RED, DIM, BOLD = "32", "33", "31", "2", "1"
_LABEL = 9  # columns of "running  "


@dataclass(frozen=True)
class Scene:
    """Everything a view shows: the run, the notes of its running jobs by id, the time left, the time (since 1970)."""

    run: Run
    now: float
    left: TimeLeft = TimeLeft(None)
    notes: Mapping[int, Note | None] = field(default_factory=dict)


def live_lines(scene: Scene, width: int, height: int, *, colour: bool = True, plain: bool = False) -> list[str]:
    """The live view: at most `height` lines of at most `width` columns. plain: ASCII only."""
    width = max(width, 20)
    stages = per_stage(scene.run.jobs.values())
    finished = [(stage, n[DONE] + n[BEFORE]) for stage, n in stages.items() if not set(n) - {DONE, BEFORE}]
    waiting = [(stage, n[WAITING]) for stage, n in stages.items() if n[WAITING] and not n[RUNNING]]
    failed = [f"{job_title(scene.run, job)}: {job.log}" for job in scene.run.of(FAILED)]
    parts = [
        ("", BOLD, _head(scene, width, plain)),
        ("done", GREEN, _two_lines(finished, width - _LABEL)),
        ("failed", RED, _some(failed, 3)),
        ("running", YELLOW, _running_rows(scene, stages)),
        ("to come", DIM, _two_lines(waiting, width - _LABEL)),
    ]
    over = sum(len(rows) for _, _, rows in parts) - height
    lines = []
    for label, code, rows in parts:
        if label == "running" and over > 0:
            rows = _some(rows, max(len(rows) - over - 1, 0))
        for i, row in enumerate(rows):
            start = f"{label if i == 0 else '':{_LABEL}}" if label else ""
            line = _cut(start + row, width, plain)
            lines.append(f"\x1b[{code}m{line}\x1b[0m" if colour else line)
    return lines[:height]


def _some(rows: Sequence[str], most: int) -> list[str]:
    """The first rows, and how many more there are."""
    return [*rows[:most], f"and {len(rows) - most} more"] if len(rows) > most else list(rows)


def job_title(run: Run, job: Job) -> str:
    """Stage, variants and shard of a job; its data set too, where the run has several."""
    return f"{job.stage} {_name(run, job)}".rstrip()


def _name(run: Run, job: Job) -> str:
    return f"{job.dataset} {job.name}".rstrip() if len(run.datasets) > 1 else job.name


def _head(scene: Scene, width: int, plain: bool) -> list[str]:
    run = scene.run
    todo, done = len(run.todo), len(run.of(DONE))
    text = f"{done} of {todo} jobs, {duration(scene.now - run.began)} so far, {left_text(scene.left, names=False)}"
    if width < _LABEL + len(text) + 12:
        return textwrap.wrap(text, width)[:2]
    full, empty = ("#", "-") if plain else ("█", "░")
    cells = min(width - len(text) - 2 - 6, 30)
    filled = cells * done // max(todo, 1)
    return [f"wsvis {full * filled}{empty * (cells - filled)}  {text}"]


def _running_rows(scene: Scene, stages: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A row per running job, those of a stage together, the first with the stage's done and total."""
    order = {stage: number for number, stage in enumerate(stages)}
    jobs = sorted(scene.run.of(RUNNING), key=lambda job: order[job.stage])
    wide = max((len(job.stage) for job in jobs), default=0)
    rows, last = [], ""
    for job in jobs:
        n = stages[job.stage]
        head = f"{job.stage:{wide}} {n[DONE] + n[BEFORE]}/{sum(n.values())}" if job.stage != last else ""
        name = _name(scene.run, job)
        rows.append(f"{head:{wide + 6}} {name + '  ' if name else ''}{job_text(scene, job)}")
        last = job.stage
    return rows


def job_text(scene: Scene, job: Job) -> str:
    """How far a running job is: its own count where it has one, and for how long it has run."""
    note = scene.notes.get(job.id)
    so_far = duration(scene.now - (job.began or scene.now))
    if note is None:
        return "in the cluster's queue" if scene.run.remote else so_far
    if note.total == 0:
        return so_far
    parts = [f"{note.done}/{note.total} {note.unit}s", so_far]
    if note.done > note.start and note.time > note.began:
        rest = (note.time - note.began) / (note.done - note.start) * (note.total - note.done)
        parts.append(f"{duration(rest)} left")
    return ", ".join([*parts, note.text] if note.text else parts)


def _two_lines(stages: Sequence[tuple[str, int]], width: int) -> list[str]:
    """Stages with their numbers of jobs, in at most two lines."""
    words = ", ".join(f"{stage} {count}" if count > 1 else stage for stage, count in stages)
    lines = textwrap.wrap(words, max(width, 10))
    return lines if len(lines) <= 2 else [lines[0], f"{lines[1]} {lines[2]}"]  # cut to the width, with its mark


def plain_line(scene: Scene) -> str:
    """One line for a log file: how many jobs are done, what runs and how far, the time left."""
    run = scene.run
    parts = [f"{len(run.of(DONE))} of {len(run.todo)} jobs done"]
    running = run.of(RUNNING)
    if running:
        some = "; ".join(f"{job_title(run, job)} {job_text(scene, job)}" for job in running[:3])
        more = f" and {len(running) - 3} more" if len(running) > 3 else ""
        parts.append(f"running: {some}{more}")
    if run.of(FAILED):
        parts.append(f"failed: {', '.join(job_title(run, job) for job in run.of(FAILED))}")
    return " | ".join([*parts, left_text(scene.left)])


def closing_line(run: Run, now: float) -> str:
    """What a terminal keeps of the live view."""
    done, todo, took = len(run.of(DONE)), len(run.todo), duration(now - run.began)
    if run.outcome == "done":
        return f"wsvis: all {todo} jobs done in {took}"
    failed = [job_title(run, job) for job in run.of(FAILED)]
    what = f"{', '.join(failed[:3])}{' and more' if len(failed) > 3 else ''} failed" if failed else "stopped"
    return f"wsvis: {what}; {done} of {todo} jobs done in {took}. The same command goes on from here."


def failure_lines(job: Job, tail: Sequence[str], width: int, now: float) -> list[str]:
    """A job failed: which, why, where its log is, and the end of that log."""
    took = f" after {duration((job.ended or now) - job.began)}" if job.began is not None else ""
    head = f"{job.stage} of {job.dataset}{' (' + job.name + ')' if job.name else ''} failed{took}"
    lines = [f"{head}: {job.reason}" if job.reason else head]
    return [*lines, f"  log: {job.log}", *(f"  | {_cut(line, max(width - 4, 20), False)}" for line in tail)]


def left_text(left: TimeLeft, *, names: bool = True) -> str:
    """The time left, and what it leaves out: by name, or only how much."""
    if left.seconds is None:
        return "time left unknown"
    if not left.unknown:
        return f"about {rough(left.seconds)} left"
    count = len(left.unknown)
    if not names:
        return f"time left unknown ({count} stage{'s' if count > 1 else ''} never timed)"
    which = f"{', '.join(left.unknown[:2])}" + (f" and {count - 2} more" if count > 2 else "")
    return f"time left unknown: {rough(left.seconds)} without {which}, never timed here"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 0:07, 12:30, 1:02:03."""
    whole = max(int(seconds), 0)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def rough(seconds: float) -> str:
    """A time no more exact than a guess is: 20 s, 3 min, 2.5 h, 3 days."""
    if seconds < 90:
        return f"{max(round(seconds / 10) * 10, 10)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _cut(line: str, width: int, plain: bool) -> str:
    line = "".join(c if c.isprintable() else " " for c in line.rstrip())
    mark = "..." if plain else "…"
    return line if len(line) <= width else line[: width - len(mark)] + mark
