"""Which GPUs a job computes on: free ones, each held by a lock of the operating system that ends with the process.

Snakemake counts the GPUs that jobs claim (`resources: gpu`) but does not say which; the same holds for two runs side by
side. A cluster's scheduler does say, in CUDA_VISIBLE_DEVICES, and only those are looked at.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
REPORT_SECONDS = 60.0


@dataclass(frozen=True)
class Gpu:
    """index: nvidia-smi's number (order on the PCI bus) · uuid: its name, the same in every process and container."""

    index: int
    uuid: str


def asked_gpus(resources: Any) -> int:
    """GPUs that a job claims: its resource `gpu`, or the count in `gres` ("gpu:2", "gpu:a100:2"); 0 without either."""
    claimed = getattr(resources, "gpu", 0)
    if isinstance(claimed, int) and claimed > 0:
        return claimed
    gres = re.fullmatch(r"gpu(?::[A-Za-z][\w.]*)?(?::(\d+))?", str(getattr(resources, "gres", "")))
    return int(gres[1] or 1) if gres else 0


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The GPUs of this machine that CUDA_VISIBLE_DEVICES leaves to us, in its order; none without NVIDIA's driver.

    Entries are numbers or beginnings of UUIDs. As in CUDA, the list ends at the first entry that names no GPU.
    """
    present = _present_gpus()
    wish = environment.get("CUDA_VISIBLE_DEVICES")
    if wish is None:
        return present
    chosen: list[Gpu] = []
    for entry in (entry.strip() for entry in wish.split(",")):
        fits = [gpu for gpu in present if entry == str(gpu.index) or (len(entry) > 4 and gpu.uuid.startswith(entry))]
        if len(fits) != 1:
            break
        chosen += fits
    return chosen


def _present_gpus() -> list[Gpu]:
    # Not torch: once CUDA has started in a process, CUDA_VISIBLE_DEVICES has no effect on it any more.
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(",") for line in listed.splitlines() if line.count(",") == 1]
    return [Gpu(int(index), uuid.strip()) for index, uuid in rows]


class Claim:
    """GPUs held by this process; `release` or the end of the process, however it ends, frees them."""

    def __init__(self, gpus: Sequence[Gpu], locks: ExitStack) -> None:
        self.gpus, self._locks = tuple(gpus), locks

    def release(self) -> None:
        self._locks.close()


def claim_gpus(count: int, gpus: Sequence[Gpu], folder: Path, *, sleep: Callable[[float], None] = time.sleep) -> Claim:
    """Hold `count` of the GPUs (all, if there are fewer), waiting until that many are free at once.

    folder: of the lock files, one per GPU; the same for all users of the machine. Where it cannot be locked, the
    first GPUs are taken unheld, with a warning.
    """
    count = min(count, len(gpus))
    waited = 0.0
    while True:
        try:
            claim = _claim_now(count, gpus, folder)
        except OSError as error:
            log.warning("GPUs cannot be claimed, so jobs may share one: %s", error)
            return Claim(gpus[:count], ExitStack())
        if claim is not None:
            return claim
        if waited % REPORT_SECONDS == 0:
            log.info("waiting for %d free of %d GPUs: %s", count, len(gpus), _holders(gpus, folder))
        sleep(POLL_SECONDS)
        waited += POLL_SECONDS


def _claim_now(count: int, gpus: Sequence[Gpu], folder: Path) -> Claim | None:
    """A claim on as many GPUs, or none at all: a job that holds one while it waits for another could wait for ever."""
    held: list[Gpu] = []
    with ExitStack() as locks:
        for gpu in gpus:
            if len(held) < count and _hold(gpu, folder, locks):
                held.append(gpu)
        if len(held) == count:
            return Claim(held, locks.pop_all())
    return None


def _hold(gpu: Gpu, folder: Path, locks: ExitStack) -> bool:
    """Lock a GPU's file until `locks` closes; False when somebody else has it."""
    stream = os.fdopen(_open_shared(_lock_file(gpu, folder)), "r+")
    locks.callback(stream.close)
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return True


def _lock_file(gpu: Gpu, folder: Path) -> Path:
    return folder / f"{gpu.uuid}.lock"


def _open_shared(path: Path) -> int:
    """A file that every user of the machine can lock. In a sticky folder only its owner may open it with O_CREAT."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        _allow_everyone(path.parent, 0o1777)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _allow_everyone(path, 0o666)
        return descriptor


def _allow_everyone(path: Path, mode: int) -> None:
    """Permissions without the umask; somebody else's file already has them."""
    with suppress(PermissionError):
        path.chmod(mode)


def _holders(gpus: Sequence[Gpu], folder: Path) -> str:
    """Who has, or had, each GPU: one that is free is named too, since one alone may be too few."""
    return ", ".join(f"{gpu.index} last held by process {_last_holder(gpu, folder)}" for gpu in gpus)


def _last_holder(gpu: Gpu, folder: Path) -> str:
    try:
        return _lock_file(gpu, folder).read_text() or "?"
    except OSError:
        return "?"


def default_folder() -> Path:
    """The lock files' folder, one for all users and projects of the machine."""
    return Path(tempfile.gettempdir()) / "wsvis-gpus"
