"""What every job has around it: a log that holds everything, clear errors, a device, and the digest of its work."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import torch

from wsvis_core.errors import WsvisError
from wsvis_core.locks import job_lock
from wsvis_core.notes import noted
from wsvis_core.storage.files import input_stamp
from wsvis_core.storage.space import full_disk_message, full_disk_reason
from wsvis_core.training.device import setup_compute
from wsvis_core.training.gpus import asked_gpus
from wsvis_core.training.machine import stated_number
from wsvis_core.training.run import Run
from wsvis_core.training.signals import Stopped

log = logging.getLogger("wsvis")


@contextmanager
def job(log_file: str, *, threads: int, resources: Any = None) -> Iterator[torch.device]:
    """Run a job: messages and tracebacks go to `log_file` and the screen; gives the device to compute on.

    resources: Snakemake's, for a job that uses the GPUs it claims there (`gpu` or `gres`); without them, the CPU.

    A WsvisError, a full disk or full memory is printed as a message, without traceback, and ends it with exit code 2. A
    trainer that was stopped by SIGTERM has said so and ends the process with exit code 143; Ctrl-C ends it with 130.
    """
    began = time.monotonic()
    try:
        with job_lock(Path(log_file)):
            _configure_logging(Path(log_file))
            cv2.setNumThreads(threads)
            with noted(Path(log_file)):
                yield setup_compute(threads, asked_gpus(resources))
            log.info("done in %.1f s", time.monotonic() - began)
    except WsvisError as error:
        log.error("%s", error)
        sys.exit(2)
    except Stopped:
        raise
    except KeyboardInterrupt:
        log.info("stopped by Ctrl-C; the same command goes on from here")
        sys.exit(130)
    except BaseException as error:
        reason = full_disk_reason(error)
        if reason is not None:
            log.error("%s", _about_full_disk(error, reason))
            sys.exit(2)
        if _is_out_of_memory(error):
            log.error("%s", _about_memory(error))
            sys.exit(2)
        log.exception("the job failed unexpectedly after %.1f s", time.monotonic() - began)
        raise


def _configure_logging(path: Path) -> None:
    screen = logging.StreamHandler(sys.stderr)
    if os.environ.get("WSVIS_LIVE") == socket.gethostname():
        # The live view of the run has the screen. It shows the end of the log of a job that fails.
        screen.addFilter(lambda record: record.levelno == logging.WARNING)
    handlers = [_LogFile(path, mode="w"), screen]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers)
    logging.captureWarnings(True)


def _is_out_of_memory(error: BaseException) -> bool:
    """Of a GPU, of numpy, or of torch on a CPU, which has no class of its own for it."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _about_memory(error: BaseException) -> str:
    """The message for memory that ran out, of the GPU or of the machine."""
    what = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "the machine"
    reason = " ".join(str(error).split())[:200]
    return (
        f"{what} has no memory left ({reason})\n"
        f"Less is needed with smaller batches (cam.batch_size, flowirn.batch_size; maskconsist.pairs_per_step halved "
        f"and maskconsist.accumulate doubled gives the same steps), smaller frames (stage1.long_side, "
        f"maskconsist.short_side) or fewer jobs at a time (--cores, --resources gpu=1); then give the same command "
        f"again: what is finished is kept"
    )


def _about_full_disk(error: BaseException, reason: str) -> str:
    """The message for a full disk that met a file which nobody expected to be written there, or a temporary one."""
    name = getattr(error, "filename", None)
    if isinstance(name, str):
        return full_disk_message(Path(name), reason)
    return (
        f"{reason} ({error}); `df -h` shows which, temporary files are in {tempfile.gettempdir()}; "
        f"make room there, then give the same command again: what is finished is kept"
    )


class _LogFile(logging.FileHandler):
    """A log file that leaves the message to the screen when the disk is full, instead of a traceback about itself."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, the name is logging's
        error = sys.exception()
        if error is None or full_disk_reason(error) is None:
            super().handleError(record)
        elif "WSVIS_LIVE" in os.environ:
            print(self.format(record), file=sys.stderr)


def work_settings(settings: dict[str, Any], inputs: Iterable[str]) -> dict[str, Any]:
    """What unfinished work must match to be continued: the stage's settings and the input files as they are now."""
    return {"settings": settings, "inputs": input_stamp(Path(path) for path in inputs)}


def training_run(task: Any, device: torch.device) -> Run:
    """How the trainer of a job runs. `task` has the attributes of Snakemake's script object: rule, params, input …

    With a GPU, the job's other threads load data; on a CPU all threads compute. What the environment states
    (docs/training.md) leaves the result as it is.
    """
    return Run(
        name=task.rule,
        folder=Path(task.params.checkpoints),
        settings=work_settings(task.params.settings, task.input),
        seed=task.params.settings["seed"],
        device=device,
        workers=task.threads - 1 if device.type == "cuda" else 0,
        checkpoint_seconds=stated_number("WSVIS_CHECKPOINT_SECONDS", 60.0, least=0.0),
        keep_checkpoints=int(stated_number("WSVIS_KEEP_CHECKPOINTS", 2, least=1)),
        event_files=stated_number("WSVIS_TENSORBOARD", 0, least=0) > 0,
        processes=_processes(task, device),
    )


def _processes(task: Any, device: torch.device) -> int:
    """One per GPU that the job claims and can see; on a CPU as many as WSVIS_PROCESSES asks for."""
    if device.type != "cuda":
        return int(stated_number("WSVIS_PROCESSES", 1, least=1))
    claimed, visible = asked_gpus(task.resources), torch.cuda.device_count()
    if claimed > visible:
        log.warning("%s claims %d GPUs but sees %d; it uses those it sees", task.rule, claimed, visible)
    return min(claimed, visible)
