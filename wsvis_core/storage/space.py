"""A full disk: said in words that help, whichever library notices it, and without a half file in the way."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsvis_core.errors import WsvisError

_REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "your quota on this disk is used up"}


def full_disk_reason(error: BaseException) -> str | None:
    """Why nothing more can be written, if that is what `error`, or an error that it came from, is about."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _REASONS:
            return _REASONS[seen.errno]
        seen = seen.__cause__ or seen.__context__
    return None


def full_disk_message(path: Path, reason: str) -> str:
    """What the user reads: the file, the reason, the room there is, and what to do."""
    folder = next(folder for folder in Path(path).absolute().parents if folder.exists())
    disk = next(place for place in (folder, *folder.parents) if place.is_mount())
    usage = shutil.disk_usage(folder)
    return (
        f"{path} cannot be written: {reason} ({size_text(usage.free)} of {size_text(usage.total)} free on {disk}); "
        f"make room there, then give the same command again: what is finished is kept"
    )


@contextmanager
def explain_full_disk(path: Path, *, half: Path | None = None) -> Iterator[None]:
    """Turns what is raised when a disk is full while `path` is written into a WsvisError that says so.

    half: the file with what was written so far. It goes, since the next attempt begins anew and needs the room.
    """
    try:
        yield
    except WsvisError:
        raise
    except Exception as error:
        reason = full_disk_reason(error)
        if reason is None:
            raise
        message = full_disk_message(path, reason)
        if half is not None:
            half.unlink(missing_ok=True)
        raise WsvisError(message) from None


def size_text(number: float) -> str:
    """A number of bytes to three digits: "1.05 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
