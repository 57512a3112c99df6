"""Watches Snakemake from inside: the record of its run, the live view on a terminal, a line a minute in a log file.

The one place that knows Snakemake's log records and its plan of jobs. A logger plugin could not be used: Snakemake
refuses to start where a profile names one that is not installed beside it.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsvis_core.monitor import text
from wsvis_core.monitor.record import FOLDER, Record, process_began, running_notes
from wsvis_core.monitor.run import BEFORE, DONE, FAILED, RUNNING, WAITING, Job, Run
from wsvis_core.monitor.screen import Screen, is_terminal
from wsvis_core.monitor.tail import log_tail
from wsvis_core.monitor.timing import TimeLeft, benchmark_seconds, time_left
from wsvis_core.notes import Note
from wsvis_core.planning.work import UNITS

# Children that see it leave the screen to the live view.
LIVE = "WSVIS_LIVE"
SECONDS_BETWEEN_LINES = 60.0
# What Snakemake says of each job, and the view shows in its own way. Its log under .snakemake/log keeps all of it.
_SHOWN_BY_THE_VIEW = {"job_info", "job_started", "job_finished", "progress", "shellcmd", "job_error"}
_FAILED_COMMAND = re.compile(
    r"CalledProcessError.*?\.(\w+)\.py' (?:returned non-zero exit status (\d+)|died with \S*?(SIG\w+))", re.DOTALL
)
INTERRUPTED = "ended by Ctrl-C"


def watch(workflow: Any, logger: logging.Logger) -> None:
    """Watch the run that is about to start. workflow: Snakemake's, with its plan of jobs made; logger: Snakemake's."""
    try:
        Watch(workflow, logger).start()
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        logger.warning(f"this run is not recorded for `wsvis status` ({type(error).__name__}: {error})")


class Watch(logging.Handler):
    """A handler of Snakemake's log, which Snakemake closes when it ends."""

    def __init__(self, workflow: Any, logger: logging.Logger) -> None:
        super().__init__()
        self._workflow, self._logger = workflow, logger
        quiet = workflow.output_settings.quiet or ()
        self._speaks = not quiet
        plan = plan_event(workflow, time.time())
        self._run = Run.begin(plan)
        self._record = Record(FOLDER, plan)
        self._snakemake_jobs = {workflow.dag.jobid(job): job for job in workflow.dag.jobs}
        self._earlier = benchmark_seconds(self._run.jobs.values(), Path())
        self._notes: dict[int, Note | None] = {}
        self._notes_read = 0.0
        self._left = TimeLeft(None)
        self._reasons: dict[str, str] = {}
        self._changes = threading.RLock()
        self._ended = threading.Event()
        self._screen: Screen | None = None

    def start(self) -> None:
        self._logger.addHandler(self)
        atexit.register(self.close)
        settings = self._workflow.output_settings
        if self._speaks and is_terminal(sys.stderr) and not (settings.stdout or settings.verbose or settings.debug_dag):
            os.environ[LIVE] = socket.gethostname()
            for handler in self._logger.handlers:
                if handler.name == "DefaultStreamHandler":
                    handler.addFilter(_leave_to_the_view)
            self._screen = Screen(self._draw)
        threading.Thread(target=self._tick, name="wsvis watch", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take what Snakemake says; what cannot be read, of a Snakemake of another kind, does not end the run."""
        try:
            self._take(record)
        except (AttributeError, KeyError, TypeError, ValueError):
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
        """Take what Snakemake says of a job."""
        event = str(getattr(record, "event", None))
        if event == "job_info":
            self._apply("start", record.jobid)
        elif event == "error":
            found = _FAILED_COMMAND.search(record.getMessage())
            if found:
                self._reasons[found[1]] = _why(found[2], found[3])
        elif event == "job_error":
            self._apply_finished()
            reason = self._reasons.pop(record.rule_name, "") or _one_line(record.rule_msg)
            if reason == INTERRUPTED:
                self._apply("stop", record.jobid)
                return
            self._apply(FAILED, record.jobid, reason=reason)
            job = self._run.jobs.get(record.jobid)
            if self._screen is None and job is not None and reason:
                self._logger.error(f"{text.job_title(self._run, job)}: {reason}")
            elif self._screen is not None and job is not None:
                print("\n".join(self._failure(job)), file=sys.stderr)

    def close(self) -> None:
        """Snakemake ends: the last events, and the terminal as it was."""
        with self._changes:
            if self._ended.is_set():
                return
            self._ended.set()
            self._apply_finished()
            states = {job.state for job in self._run.jobs.values()}
            outcome = "done" if states <= {DONE, BEFORE} else "failed" if FAILED in states else "stopped"
            event = {"event": "end", "time": time.time(), "outcome": outcome}
            self._run.apply(event)
            self._record.add(event)
            self._record.close()
        if self._screen is not None:
            self._screen.close([text.closing_line(self._run, time.time())])
            os.environ.pop(LIVE, None)
        atexit.unregister(self.close)
        super().close()

    def _apply(self, kind: str, job: int, **more: str) -> None:
        with self._changes:
            event = {"event": kind, "time": time.time(), "job": job, **more}
            self._run.apply(event)
            self._record.add(event)

    def _apply_finished(self) -> None:
        """Snakemake's plan tells which jobs are done; its messages do not with --quiet."""
        with self._changes:
            for job in self._run.of(RUNNING):
                if self._workflow.dag.finished(self._snakemake_jobs[job.id]):
                    self._apply(DONE, job.id)

    def _tick(self) -> None:
        last_line = time.monotonic()
        while not self._ended.wait(1.0):
            with self._changes:
                if self._ended.is_set():
                    return
                self._apply_finished()
                self._record.sign()
                self._read_notes()
                self._left = time_left(self._run, self._notes, self._earlier, time.time())
            if self._screen is None and self._speaks and time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                self._logger.info(text.plain_line(self._scene()))

    def _read_notes(self) -> None:
        """A file per running job; of a hundred jobs on a cluster, every ten seconds."""
        running = self._run.of(RUNNING)
        if time.monotonic() - self._notes_read >= len(running) / 10:
            self._notes_read = time.monotonic()
            self._notes = running_notes(running, Path())

    def _scene(self) -> text.Scene:
        return text.Scene(self._run, time.time(), self._left, self._notes)

    def _draw(self, width: int, height: int) -> Sequence[str]:
        encoding = (sys.stderr.encoding or "").lower().replace("-", "")
        colour = not (self._workflow.output_settings.nocolor or os.environ.get("NO_COLOR"))
        with self._changes:
            return text.live_lines(self._scene(), width, height, colour=colour, plain=encoding != "utf8")

    def _failure(self, job: Job) -> list[str]:
        return text.failure_lines(job, log_tail(Path(job.log), job.began), 100, time.time())


def _leave_to_the_view(record: logging.LogRecord) -> bool:
    """Whether Snakemake's own words go to the screen."""
    event = getattr(record, "event", None)
    if event is None:
        return not record.getMessage().startswith(("Select jobs to execute", "Execute "))
    if str(event) == "error":
        return _FAILED_COMMAND.search(record.getMessage()) is None
    return str(event) not in _SHOWN_BY_THE_VIEW


def plan_event(workflow: Any, now: float) -> dict[str, Any]:
    """The first event of a run, read from Snakemake's plan: every job with results, done or to do."""
    dag, remote = workflow.dag, not workflow.local_exec
    cores = workflow.nodes if remote else workflow.cores
    ids = {dag.jobid(job) for job in dag.jobs if job.output}
    jobs = [_job_entry(job, dag, ids, remote, cores) for job in dag.jobs if job.output]
    return {
        "event": "run",
        "time": now,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_began": process_began(os.getpid()),
        "cores": cores if cores is not None and cores < sys.maxsize else None,
        "gpus": None if remote else _number(workflow.global_resources.get("gpu")),
        "remote": remote,
        "targets": sorted(str(path) for job in dag.targetjobs for path in (job.output or job.input)),
        "jobs": sorted(jobs, key=lambda entry: _order(entry["stage"])),
    }


def _job_entry(job: Any, dag: Any, ids: set[int], remote: bool, cores: int | None) -> dict[str, Any]:
    wildcards = dict(job.wildcards_dict)
    dataset = wildcards.pop("dataset", "")
    threads = _number(job.rule.resources.get("_cores")) or 1
    return {
        "id": dag.jobid(job),
        "stage": job.rule.name,
        "dataset": dataset,
        "name": " ".join(f"round {value}" if name == "round" else str(value) for name, value in wildcards.items()),
        "log": str(job.log[0]) if job.log else "",
        "benchmark": str(job.benchmark or ""),
        "threads": 1 if remote else min(threads, cores or threads),
        "gpu": 0 if remote else _number(job.rule.resources.get("gpu")) or 0,
        "needs": sorted(number for number in map(dag.jobid, dag.job_dependencies(job)) if number in ids),
        "state": WAITING if dag.needrun(job) else BEFORE,
    }


def _order(stage: str) -> int:
    """Stages in the order in which they are planned; a stage that is not planned last."""
    return list(UNITS).index(stage) if stage in UNITS else len(UNITS)


def _number(resource: Any) -> int | None:
    """The number in a resource of Snakemake, None where there is none or it depends on the job."""
    value = getattr(resource, "value", resource)
    return value if isinstance(value, int) else None


def _why(code: str | None, signal: str | None) -> str:
    """Why a job's process ended, where that tells more than its log."""
    if signal == "SIGINT" or code == "130":
        return INTERRUPTED
    if signal == "SIGKILL":
        return "killed (SIGKILL): most often the machine had no memory left; run fewer jobs at a time (--cores)"
    if signal is not None:
        return f"ended by {signal}"
    if code == "143":
        return "ended by SIGTERM"
    return "" if code in ("1", "2") else f"exit code {code}"


def _one_line(message: object) -> str:
    return " ".join(str(message or "").split())
