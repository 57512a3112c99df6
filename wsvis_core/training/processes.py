"""One job, several processes: the job's own process leads and starts one helper per further GPU.

There is no launcher: a rule of the workflow stays one command. Helpers are new interpreters (CUDA cannot be forked)
that are sent what to call; they hold no lock, write no file and leave every signal to the leader. The leader repeats
what they print in the job's log. Nobody waits for the dead: a helper ends with its leader, even one that was killed,
and when a helper ends early the leader says so and ends too.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import torch
import torch.distributed as dist

from wsvis_core.errors import WsvisError
from wsvis_core.training.run import Run
from wsvis_core.training.signals import Stopped
from wsvis_core.training.team import Team

log = logging.getLogger(__name__)
# How long processes wait for one that lives but does not come, e.g. because its disk hangs.
PATIENCE = timedelta(minutes=10)
# How long the leader may take to end by itself after a helper has: its network library may wait for ever.
SECONDS_TO_LEAVE = 20.0
SECONDS_TO_END = 60.0
EXIT_CODE = 2


def train_together(function: Callable[..., None], run: Run, *, shares: int) -> None:
    """Call `function(run=run)` in this process and in `run.processes` - 1 helpers, each with its own `run.team`.

    function: picklable, of a module that can be imported. shares: into how many parts a step can be divided
    (`accumulate`); more processes than that are not started. Raises WsvisError when a helper has ended early.
    """
    size = min(run.processes, shares)
    if size < run.processes:
        log.warning(
            "%s: only %d of %d processes are used, because a step has no more batches to share; "
            "raise maskconsist.accumulate (and choose lr for the larger step) to use all",
            run.name,
            size,
            run.processes,
        )
    if size == 1:
        function(run=run)
        return
    threads = max(torch.get_num_threads() // size, 1)
    own = replace(run, workers=max((run.workers + 1) // size - 1, 0))
    runs = [replace(own, team=Team(rank, size), device=_device(run.device, rank)) for rank in range(size)]
    log.info("%s: %d processes share the %d batches of a step", run.name, size, shares)
    with tempfile.TemporaryDirectory(prefix="wsvis-") as folder:
        store = str(Path(folder) / "store")
        with _helpers([(function, one, store, threads) for one in runs[1:]]) as helpers:
            try:
                _work(function, runs[0], store, threads)
            except RuntimeError as error:
                ended = helpers.ended_early()
                if ended is None:
                    raise
                raise WsvisError(ended) from error


def _device(device: torch.device, rank: int) -> torch.device:
    return torch.device("cuda", rank) if device.type == "cuda" else device


def _work(function: Callable[..., None], run: Run, store: str, threads: int) -> None:
    """Join the team and train."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    cv2.setNumThreads(threads)
    if run.device.type == "cuda":
        torch.cuda.set_device(run.device)
    # All processes are on this machine; its name need not lead anywhere.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if run.device.type == "cuda" else "gloo",
        store=dist.FileStore(store, run.team.size),
        rank=run.team.rank,
        world_size=run.team.size,
        timeout=PATIENCE,
    )
    try:
        function(run=run)
    finally:
        dist.destroy_process_group()


class _Helpers:
    """The helper processes of a leader, and threads that watch them."""

    def __init__(self, name: str, count: int) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        self._name, self._left = name, threading.Event()
        self._readers: list[threading.Thread] = []
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            for _ in range(count)
        ]

    def send(self, calls: list[tuple[Any, ...]]) -> None:
        """Tell each helper what to call; its standard input then stays open for as long as the leader lives."""
        for rank, (process, call) in enumerate(zip(self._processes, calls, strict=True), start=1):
            self._readers.append(threading.Thread(target=self._repeat, args=(rank, process), daemon=True))
            self._readers[-1].start()
            threading.Thread(target=self._watch, args=(rank, process), daemon=True).start()
            pickle.dump(call, process.stdin)
            process.stdin.flush()

    def ended_early(self) -> str | None:
        """What to tell when a helper has ended or is just about to, None when all live."""
        for rank, process in enumerate(self._processes, start=1):
            try:
                code = process.wait(1.0)
            except subprocess.TimeoutExpired:
                continue
            return self._sentence(rank, code)
        return None

    def leave(self, *, patiently: bool) -> None:
        """End all helpers; with patience for those who are about to end by themselves."""
        self._left.set()
        for process in self._processes:
            try:
                process.wait(SECONDS_TO_END if patiently else 0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdin.close()
        for reader in self._readers:
            reader.join(SECONDS_TO_END)

    def _sentence(self, rank: int, code: int) -> str:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return (
            f"{self._name}: process {rank} of {len(self._processes) + 1} {how}, so the others stopped; "
            "look above for what it said, then run the same command to go on from the last checkpoint"
        )

    def _repeat(self, rank: int, process: subprocess.Popen) -> None:
        for line in process.stdout:
            log.warning("process %d: %s", rank, line.decode(errors="replace").rstrip())

    def _watch(self, rank: int, process: subprocess.Popen) -> None:
        """End the leader if it does not end by itself when a helper has: it may hang in a sum over the GPUs."""
        code = process.wait()
        if code == 0 or self._left.wait(SECONDS_TO_LEAVE):
            return
        log.error("%s", self._sentence(rank, code))
        for other in self._processes:
            other.kill()
        os._exit(EXIT_CODE)


@contextmanager
def _helpers(calls: list[tuple[Any, ...]]) -> Iterator[_Helpers]:
    """Helpers at work on `calls`; none is left after the block."""
    helpers = _Helpers(calls[0][1].name, len(calls))
    try:
        helpers.send(calls)
        yield helpers
    except Stopped:
        helpers.leave(patiently=True)
        raise
    except BaseException:
        helpers.leave(patiently=False)
        raise
    helpers.leave(patiently=True)


def _end_with_the_leader() -> None:
    """Its end of the pipe closes when the leader ends, however it does."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(EXIT_CODE)


def _help() -> None:
    """What a helper process does."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    function, run, store, threads = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_the_leader, daemon=True).start()
    try:
        _work(function, run, store, threads)
    except WsvisError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CODE)
    except Stopped:
        return


if __name__ == "__main__":
    _help()
