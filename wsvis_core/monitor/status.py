"""What `wsvis status` finds: the runs of a data set, their state, and what stands in the files they left."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from wsvis_core.errors import WsvisError
from wsvis_core.monitor import text
from wsvis_core.monitor.record import is_alive, process_lives, read_runs, running_notes
from wsvis_core.monitor.run import BEFORE, DONE, FAILED, RUNNING, Job, Run, per_stage
from wsvis_core.monitor.tail import log_tail
from wsvis_core.monitor.timing import TimeLeft, benchmark_seconds, time_left
from wsvis_core.notes import Note
from wsvis_core.targets import ENDINGS

# States of a data set with the command's exit codes; the first that holds for one of several is that of all.
CODES = {"running": 3, "failed": 4, "interrupted": 5, "nothing": 6, "done": 0}


@dataclass(frozen=True)
class Status:
    """Where a data set stands. run: its last one, with the jobs of this data set only; None when none is recorded.

    whole: the same run with the jobs of all data sets. missing: results that the run made and that are gone.
    """

    dataset: str
    state: str
    run: Run | None = None
    whole: Run | None = None
    notes: Mapping[int, Note | None] = field(default_factory=dict)
    left: TimeLeft = TimeLeft(None)
    missing: tuple[str, ...] = ()


def place_of(path: Path | None) -> tuple[Path, str | None]:
    """The project folder and the data set that a user means; None: all of them.

    A path below results/ or logs/, such as results/demo, results/demo_vis.json or logs/demo/train_cam.log; a project's
    folder; or the name of a data set alone.
    """
    if path is None:
        return Path(), None
    parts = path.parts
    for number in range(len(parts) - 1, -1, -1):
        if parts[number] in ("results", "logs"):
            rest = parts[number + 1 :]
            return Path(*parts[:number]), _dataset_of(rest[0]) if rest else None
    if len(parts) > 1 or path == Path() or (path / ".snakemake").is_dir() or (path / "results").is_dir():
        return path, None
    return Path(), str(path)


def _dataset_of(name: str) -> str:
    """results/demo_vis.json and its like are of the data set demo."""
    for ending in ENDINGS:
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name


def find_status(project: Path, dataset: str | None, now: float) -> list[Status]:
    """The state of one data set, or of all that have been run; WsvisError for a data set that nobody knows."""
    if not project.is_dir():
        raise WsvisError(f"{project} is no folder; give results/<data set>, or start in the folder of the Snakefile")
    runs = read_runs(project)
    known = list(dict.fromkeys([name for run in runs for name in run.datasets]))
    if dataset is None:
        return [_status(project, name, runs, now) for name in known]
    if dataset not in known and dataset not in _other_names(project):
        names = sorted({*known, *_other_names(project)})
        near = difflib.get_close_matches(dataset, names, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise WsvisError(
            f"there is no data set '{dataset}' in {project.absolute()}: it has {', '.join(names) or 'none'}{hint}"
        )
    return [_status(project, dataset, runs, now)]


def _other_names(project: Path) -> set[str]:
    """Data sets of config.yaml, and those with results that no run is recorded of."""
    found = {path.name for path in (project / "results").glob("*/") if (path / "dataset").is_dir()}
    try:
        content = yaml.safe_load((project / "config.yaml").read_text(encoding="utf-8"))
        return found | {str(name) for name in content["datasets"]}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return found


def _status(project: Path, dataset: str, runs: Sequence[Run], now: float) -> Status:
    own = [run for run in runs if dataset in run.datasets]
    if not own:
        return Status(dataset, "done" if _result(project, dataset).exists() else "nothing")
    whole = next((run for run in own if is_alive(run, now)), own[0])
    run = whole.only(dataset)
    if not is_alive(whole, now):
        own_targets = [path for path in whole.targets if place_of(Path(path))[1] == dataset]
        missing = tuple(path for path in own_targets if not (project / path).exists())
        state = {"done": "done", "failed": "failed"}.get(whole.outcome or "", "interrupted")
        if state != "done" and all(job.state in (DONE, BEFORE) for job in run.jobs.values()):
            state = "done"
        return Status(
            dataset,
            state,
            run,
            whole,
            running_notes(run.of(RUNNING), project),
            missing=missing if state == "done" else (),
        )
    notes = running_notes(whole.of(RUNNING), project)
    left = time_left(whole, notes, benchmark_seconds(whole.jobs.values(), project), now)
    return Status(dataset, "running", run, whole, notes, left)


def status_lines(status: Status, project: Path, now: float, width: int) -> list[str]:
    """The page of `wsvis status` for one data set."""
    run, whole = status.run, status.whole
    if run is None or whole is None:
        return [f"{status.dataset}: no run of it is recorded here", *_what_is_there(status.dataset, project)]
    scene = text.Scene(run, now, status.left, status.notes)
    lines = [f"{status.dataset}: {_headline(status, whole, now)}", *_table(run)]
    if whole.datasets != run.datasets:
        lines.append(f"all data sets of this run: {len(whole.of(DONE))} of {len(whole.todo)} jobs done")
    running = run.of(RUNNING)
    if running and status.state == "running":
        lines += ["", "now:", *(f"  {text.job_title(run, job)}  {text.job_text(scene, job)}" for job in running)]
        lines.append(text.left_text(status.left))
    elif running:
        lines += [
            "",
            "at work when it ended:",
            *(f"  {text.job_title(run, job)}  {_left_behind(status, job)}" for job in running),
        ]
    for job in run.of(FAILED):
        tail = log_tail(project / job.log, job.began)
        lines += ["", *text.failure_lines(job, tail, width, now)]
    for path in status.missing:
        lines.append(f"{path} was made and is gone")
    return [*lines, *_next_step(status)]


def _headline(status: Status, run: Run, now: float) -> str:
    ago = f"{text.rough(max(now - (run.ended or run.seen), 0.0))} ago"
    where = f"Snakemake is process {run.pid} on {run.host}"
    if status.state == "running":
        failed = f", {len(run.of(FAILED))} failed" if run.of(FAILED) else ""
        return f"running for {text.duration(now - run.began)}{failed}; {where}"
    took = text.duration((run.ended or run.seen) - run.began)
    if status.state == "done":
        return f"done {ago}, in {took}"
    if status.state == "failed":
        return f"failed {ago}, after {took}"
    if run.outcome == "stopped":
        return f"stopped {ago}, after {took}"
    return f"interrupted: {where} ended without a word, last seen {ago}"


def _table(run: Run) -> list[str]:
    """Done and all jobs per stage."""
    counts = per_stage(run.jobs.values())
    wide = max(len("stage"), *(len(stage) for stage in counts))
    lines = ["", f"{'stage':{wide}}  done"]
    for stage, n in counts.items():
        done, total = n[DONE] + n[BEFORE], sum(n.values())
        notes = [f"{n[state]} {state}" for state in (RUNNING, FAILED) if n[state]]
        lines.append(f"{stage:{wide}}  {done}/{total}{'  ' + ', '.join(notes) if notes else ''}")
    return lines


def _left_behind(status: Status, job: Job) -> str:
    """Of a job whose Snakemake is gone: whether it goes on by itself."""
    note = status.notes.get(job.id)
    if note is None:
        return ""
    if note.host == socket.gethostname() and process_lives(note.pid):
        return f"goes on by itself (process {note.pid}); wait for it or end it before you start again"
    return f"at {note.done} of {note.total} {note.unit}s" if note.total else ""


def _next_step(status: Status) -> list[str]:
    if status.state in ("failed", "interrupted"):
        return ["", "The command of the run, given again, goes on from here."]
    return []


def _result(project: Path, dataset: str) -> Path:
    return project / "results" / f"{dataset}_vis.json"


def _what_is_there(dataset: str, project: Path) -> list[str]:
    result = _result(project, dataset)
    if result.exists():
        return [f"{result} is there; it was made elsewhere, or before runs were recorded"]
    return [f"start one: snakemake --cores all -- results/{dataset}_vis.json results/{dataset}_report.html"]


def exit_code(found: Sequence[Status]) -> int:
    """0 all is done, 3 running, 4 failed, 5 interrupted, 6 nothing has run."""
    states = {status.state for status in found} or {"nothing"}
    return next(code for state, code in CODES.items() if state in states)
