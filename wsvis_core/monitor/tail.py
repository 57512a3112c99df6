"""The end of a job's log, where the reason of a failure stands."""

from __future__ import annotations

from pathlib import Path

LINES = 12


def log_tail(log: Path, since: float | None = None, *, lines: int = LINES) -> list[str]:
    """The last lines of a log. since: when the job began; an older log is that of an earlier attempt, so nothing."""
    try:
        with open(log, "rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(size - (1 << 14), 0))
            content = stream.read().decode(errors="replace")
        old = since is not None and log.stat().st_mtime < since - 1.0
    except OSError:
        return ["(there is no log)"]
    found = [line.rstrip() for line in content.splitlines() if line.strip()]
    if old or not found:
        return ["(nothing was written to the log: the job ended before its first line)"]
    return found[-lines:]
