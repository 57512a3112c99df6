"""The record of a run: JSON lines under `.snakemake/wsvis`, the plan first, then what happened; only appended to."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wsvis_core.monitor.run import Job, Run
from wsvis_core.notes import Note, read_note

FOLDER = Path(".snakemake/wsvis")
KEPT = 20
# How often a run that has nothing to say shows that it is there, by the time of its record.
SECONDS_BETWEEN_SIGNS = 30.0


class Record:
    """Writes the record of this process's run. When it can be written no longer, the run goes on without."""

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        """plan: the first event (`Run.begin`)."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("run-*.jsonl"))[: -KEPT + 1]:
            old.unlink(missing_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(plan["time"]))
        self.path = folder / f"run-{stamp}-{plan['pid']}.jsonl"
        self._stream = open(self.path, "w")
        self._last = time.monotonic()
        self.add(plan)

    def add(self, event: Mapping[str, Any]) -> None:
        """Append an event."""
        self._last = time.monotonic()
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(json.dumps(event) + "\n")
            self._stream.flush()

    def sign(self) -> None:
        """Show that the run lives, where nothing else did for a while."""
        if time.monotonic() - self._last >= SECONDS_BETWEEN_SIGNS:
            self._last = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()


def read_run(path: Path) -> Run | None:
    """The run of a record as it stands; None for a record without a plan. A last line that was cut is left out."""
    run = None
    for line in path.read_text().splitlines():
        try:
            event = json.loads(line)
            if run is None:
                run = Run.begin(event)
            else:
                run.apply(event)
        except (ValueError, TypeError, KeyError):
            break
    if run is not None:
        run.path = path
        run.seen = max(run.seen, path.stat().st_mtime)
    return run


def read_runs(project: Path) -> list[Run]:
    """The runs in a working directory of Snakemake, the last first."""
    paths = sorted((project / FOLDER).glob("run-*.jsonl"), reverse=True)
    found = [read_run(path) for path in paths]
    return sorted((run for run in found if run is not None), key=lambda run: -run.began)


def running_notes(jobs: Iterable[Job], project: Path) -> dict[int, Note | None]:
    """Notes of running jobs by id, None for those that have none; what an earlier attempt left is none."""
    found: dict[int, Note | None] = {}
    for job in jobs:
        note = read_note(project / job.log) if job.log else None
        found[job.id] = note if note is not None and note.time >= (job.began or 0.0) - 1.0 else None
    return found


def process_began(pid: int) -> str:
    """When a process of this machine began, in the kernel's words: tells it from a later one with its number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def process_lives(pid: int, began: str = "") -> bool:
    """Whether a process of this machine is there. began: as `process_began` told."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not began or process_began(pid) in ("", began)


def is_alive(run: Run, now: float) -> bool:
    """Whether the Snakemake of a run is still there; of another machine's, whether it gave a sign lately."""
    if run.outcome is not None:
        return False
    if run.host == socket.gethostname():
        return process_lives(run.pid, run.process_began)
    return now - run.seen < 4 * SECONDS_BETWEEN_SIGNS
