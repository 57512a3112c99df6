"""SIGTERM, which a cluster sends some seconds before it kills: noticed, so that the work at hand can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGTERM_EXIT_CODE = 128 + signal.SIGTERM


class Stopped(SystemExit):
    """Ends the process with exit code 143 after a stop that was asked for and has been logged."""

    def __init__(self) -> None:
        super().__init__(SIGTERM_EXIT_CODE)


class StopRequest:
    """Whether SIGTERM has come."""

    def __init__(self) -> None:
        self.received = False


@contextmanager
def noticed_sigterm() -> Iterator[StopRequest]:
    """A request that turns `received` on the first SIGTERM inside the block; the second one ends the process at once.

    Whoever opens the block must look at `received` after it and end the process. Only the main thread may handle
    signals: in any other thread they are left alone and `received` stays False. The old handler returns afterwards.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def notice(number: int, frame: FrameType | None) -> None:
        request.received = True
        # The system's own handling: it works inside long native calls too, where Python handlers have to wait.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = signal.signal(signal.SIGTERM, notice)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def leave_sigterm_to_the_trainer(worker: int) -> None:
    """Make a data worker ignore SIGTERM, which often goes to a whole process group; workers end with their trainer."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
