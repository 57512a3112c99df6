"""Locks that end with the process that holds them, so that a kill leaves none behind."""

from __future__ import annotations

import fcntl
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from wsvis_core.errors import WsvisError


def hold_run_lock(folder: Path) -> IO[str] | None:
    """The open lock file of this run, to be kept as long as it lives; None where files cannot be locked.

    Snakemake's own lock is a list of files in `<folder>/locks`. A SIGKILL or a power loss leaves it there, and every
    later run refuses to start until someone gives --unlock. So each run also holds a shared lock of the operating
    system on `<folder>/wsvis.lock`: when nobody holds it, the list is a leftover and is removed. A leftover of another
    machine stays, because not every network file system passes locks on.
    """
    try:
        folder.mkdir(exist_ok=True)
        stream = open(folder / "wsvis.lock", "a+")
        if _nobody_holds(stream) and _last_holder(stream) in ("", socket.gethostname()):
            shutil.rmtree(folder / "locks", ignore_errors=True)
        fcntl.flock(stream, fcntl.LOCK_SH)
        stream.truncate(0)
        stream.write(socket.gethostname())
        stream.flush()
    except OSError:
        return None
    return stream


def _nobody_holds(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_holder(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read().strip()


@contextmanager
def job_lock(log_file: Path) -> Iterator[None]:
    """Nobody else works on the job with this log meanwhile; raises WsvisError when somebody does.

    When only Snakemake itself is killed, its jobs go on by themselves and the next run must not write beside them.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with open(log_file, "a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WsvisError(
                f"a process of an earlier run still works on this job and writes {log_file}; "
                f"wait until it ends, or end it, then give the same command again"
            ) from None
        except OSError:
            pass  # A file system without locks: nothing to compare with.
        yield
