"""A program on a pseudo-terminal, and a terminal that understands what it writes."""

from __future__ import annotations

import os
import pty
import re
import signal
import struct
import termios
from collections.abc import Callable, Mapping, Sequence
from fcntl import ioctl

ROWS, COLUMNS = 30, 100


def on_terminal(
    command: Sequence[str], environment: Mapping[str, str], *, act: Callable[[int, str], bool] | None = None
) -> tuple[int, str]:
    """Exit code and output of a program on a terminal. act(process, output) is called until it gives True."""
    process, terminal = pty.fork()
    if process == 0:
        # A shell starts what it puts into the background with Ctrl-C ignored, and that is inherited.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvpe(command[0], list(command), {**environment, "TERM": "xterm", "PYTHONUTF8": "1"})
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    written, acted = b"", act is None
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # the program has closed it
            break
        if not part:
            break
        written += part
        acted = acted or act(process, written.decode(errors="replace"))
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), written.decode()


def lines_of(written: str) -> list[str]:
    """Everything that was written, line by line, without colours and movements."""
    return re.sub(r"\x1b\[\d*[mJA]", "", written.replace("\r\n", "\n")).splitlines()


class Terminal:
    """Rows of text under the codes that the live view uses: new line, return, up, clear to the end, colours."""

    def __init__(self, columns: int = COLUMNS) -> None:
        self.columns, self.rows, self.row, self.column = columns, [""], 0, 0

    def feed(self, text: str) -> None:
        for code in re.findall(r"\x1b\[\d*[A-Za-z]|.", text, re.DOTALL):
            if code.startswith("\x1b"):
                self._control(code[-1], int(code[2:-1] or 1))
            elif code == "\r":
                self.column = 0
            elif code == "\n":
                self._down()
            else:
                self._put(code)

    def _control(self, letter: str, count: int) -> None:
        if letter == "A":
            self.row = max(self.row - count, 0)
        elif letter == "J":
            self.rows = [*self.rows[: self.row], self.rows[self.row][: self.column]]
        else:
            assert letter == "m", letter

    def _put(self, character: str) -> None:
        if self.column == self.columns:
            self._down()
        line = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = line[: self.column] + character + line[self.column + 1 :]
        self.column += 1

    def _down(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.rows):
            self.rows.append("")
