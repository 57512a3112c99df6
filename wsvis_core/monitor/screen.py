"""A few lines at the bottom of a terminal that are drawn again and again, below what everybody else writes."""

from __future__ import annotations

import os
import select
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TextIO

CLEAR_TO_END = "\x1b[J"
_MOST_AT_ONCE = 1 << 20  # bytes that are read before the view is drawn again
_LONGEST_LINE = 1 << 16  # bytes; a longer line is shown in pieces


class Interrupts:
    """Leaves out the tracebacks with which Python programs answer Ctrl-C: the user knows, and they fill the screen."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def without(self, lines: Sequence[str], *, last: bool = False) -> list[str]:
        """Lines to show. A traceback that has not ended is held back until it has, or until these are the last."""
        shown: list[str] = []
        for line in lines:
            if line.startswith("Traceback (most recent call last)"):
                shown += self._release()
                self._held = [line]
            elif not self._held:
                shown.append(line)
            elif line.startswith(" "):
                self._held.append(line)
            elif line.startswith("KeyboardInterrupt"):
                self._held = []
            else:
                shown += [*self._release(), line]
        return [*shown, *self._release()] if last else shown

    def _release(self) -> list[str]:
        held, self._held = self._held, []
        return held


def is_terminal(stream: TextIO) -> bool:
    """Whether lines can be drawn again on a stream: a terminal that understands cursor movements."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def frame_text(lines: Sequence[str], above: Sequence[str], rows_before: int) -> str:
    """What moves the terminal from one frame to the next: the old lines go, `above` stays for good, then the new ones.

    rows_before: rows of the terminal that the old lines take; the cursor is at the end of the last.
    """
    up = f"\r\x1b[{rows_before - 1}A" if rows_before > 1 else "\r"
    return f"{up}{CLEAR_TO_END}" + "".join(f"{line}\n" for line in above) + "\n".join(lines)


class Screen:
    """While it is open, stdout and stderr of this process and of its children go through a pipe, and appear above.

    draw: gives the lines of the view for a width and a height; called twice a second.
    """

    def __init__(self, draw: Callable[[int, int], Sequence[str]], *, seconds: float = 0.5) -> None:
        self._draw, self._seconds = draw, seconds
        self._terminal = os.dup(2)
        self._kept: dict[int, int] = {}
        self._pipe, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        for number in (1, 2):
            if os.isatty(number):
                self._kept[number] = os.dup(number)
                os.dup2(writing, number)
        os.close(writing)
        self._shown: list[int] = []
        self._unfinished = b""
        self._interrupts = Interrupts()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="wsvis live view", daemon=True)
        self._thread.start()

    def close(self, last: Sequence[str] = ()) -> None:
        """The view goes; what was written meanwhile, and `last`, stays."""
        if self._ended.is_set():
            return
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in self._kept.items():
            os.dup2(kept, number)
            os.close(kept)
        self._ended.set()
        self._thread.join()
        above = self._read(0.0)
        if self._unfinished:
            above.append(self._unfinished.decode(errors="replace"))
        self._write([*self._interrupts.without(above, last=True), *last], [])
        os.close(self._pipe)
        os.close(self._terminal)

    def _loop(self) -> None:
        while not self._ended.is_set():
            above = self._interrupts.without(self._read(self._seconds))
            width, height = self._size()
            self._write(above, self._lines(width - 1, height - 1))

    def _lines(self, width: int, height: int) -> Sequence[str]:
        """The view, or what went wrong with it: if nobody emptied the pipe, all jobs would wait for that."""
        try:
            return self._draw(width, height)
        except Exception as error:
            said = f"wsvis: the live view has ended, the run goes on ({type(error).__name__}: {error})"
            self._draw = lambda width, _: [said[:width]]
            return self._draw(width, height)

    def _read(self, seconds: float) -> list[str]:
        """Whole lines that are written within some seconds; of a bar that overwrites itself its end."""
        content, until = self._unfinished, time.monotonic() + seconds
        most = len(content) + _MOST_AT_ONCE
        while len(content) < most and select.select([self._pipe], [], [], max(until - time.monotonic(), 0.0))[0]:
            part = os.read(self._pipe, 1 << 16)
            if not part:
                break  # Everybody has closed it.
            content += part
        lines = content.replace(b"\r\n", b"\n").split(b"\n")
        rest = lines.pop()
        # A bar that never ends its line does not pile up; a return at the very end may be half of a line's end.
        self._unfinished = rest[rest.rfind(b"\r", 0, len(rest) - 1) + 1 :]
        if len(self._unfinished) > _LONGEST_LINE:
            lines.append(self._unfinished)
            self._unfinished = b""
        return [line.rpartition(b"\r")[2].decode(errors="replace") for line in lines]

    def _write(self, above: Sequence[str], lines: Sequence[str]) -> None:
        width, _ = self._size()
        # A terminal that became narrower has broken the old lines.
        rows = sum(max(-(-columns // width), 1) for columns in self._shown)
        text = frame_text(lines, above, rows)
        self._shown = [_columns(line) for line in lines]
        data = text.encode(errors="replace")
        try:
            while data:
                data = data[os.write(self._terminal, data) :]
        except OSError:
            pass  # The terminal is gone; the run goes on.

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._terminal)
        except OSError:
            size = os.terminal_size((80, 24))
        width, height = size if size.columns and size.lines else shutil.get_terminal_size()
        return max(width, 20), max(height, 4)


def _columns(line: str) -> int:
    """Columns of a line, without its colour codes."""
    count, inside = 0, False
    for character in line:
        if character == "\x1b":
            inside = True
        elif inside:
            inside = character != "m"
        else:
            count += 1
    return count
