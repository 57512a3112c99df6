"""How far a job is, in a small file beside its log: what other processes can show of it while it works."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

# Network file systems dislike more.
SECONDS_BETWEEN_NOTES = 2.0


@dataclass(frozen=True)
class Note:
    """done of total steps, `start` of them made by an earlier attempt; total 0: the job counts nothing.

    began, time: seconds since 1970 when counting began, and of this note. text: beside it, such as the loss.
    """

    began: float
    time: float
    host: str
    pid: int
    done: int = 0
    total: int = 0
    start: int = 0
    unit: str = ""
    text: str = ""


def note_path(log: Path) -> Path:
    """Where the note of the job with this log lies."""
    return log.with_suffix(".progress")


class NoteFile:
    """The note of one job. A note that cannot be written is left out: no job ends because of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = -SECONDS_BETWEEN_NOTES
        self._began = time.time()
        self.write()

    def begin(self, total: int, unit: str, start: int) -> None:
        """The job starts to count."""
        self._began = time.time()
        self.write(start, total, start, unit)

    def write(self, done: int = 0, total: int = 0, start: int = 0, unit: str = "", text: str = "") -> None:
        """Replace the note, as a whole."""
        self._last = time.monotonic()
        note = Note(self._began, time.time(), socket.gethostname(), os.getpid(), done, total, start, unit, text)
        temporary = self._path.with_name(self._path.name + ".tmp")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(asdict(note)))
            os.replace(temporary, self._path)

    def due(self) -> bool:
        """Whether the last note is old enough for another."""
        return time.monotonic() - self._last >= SECONDS_BETWEEN_NOTES

    def remove(self) -> None:
        for path in (self._path, self._path.with_name(self._path.name + ".tmp")):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


_of_this_process: NoteFile | None = None


@contextmanager
def noted(log: Path) -> Iterator[None]:
    """Meanwhile this process's `Progress` is noted beside `log`; the note goes when the job ends, well or not."""
    global _of_this_process
    _of_this_process = NoteFile(note_path(log))
    try:
        yield
    finally:
        _of_this_process.remove()
        _of_this_process = None


def current() -> NoteFile | None:
    """The note of the job that this process is, None in a process that is none."""
    return _of_this_process


def read_note(log: Path) -> Note | None:
    """The note of the job with this log, None where there is none or it cannot be read."""
    try:
        return Note(**json.loads(note_path(log).read_text()))
    except (OSError, ValueError, TypeError):
        return None
