"""The live region of a terminal, on a real pseudo-terminal and on one that is only lines of text."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest

from tests.terminal import Terminal, lines_of, on_terminal
from wsvis_core.monitor.screen import Interrupts, frame_text, is_terminal

PROGRAM = """
import logging, subprocess, sys, time
from tests.terminal import Terminal, on_terminal
from wsvis_core.monitor.screen import Screen
print("before")
count = 0
def draw(width, height):
    global count
    count += 1
    return [f"frame {count} of {width}x{height}", "second line"]
screen = Screen(draw, seconds=0.05)
print("from stdout")
subprocess.run([sys.executable, "-c", "import sys; print('from a child', file=sys.stderr)"])
subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('\\\\r10 %\\\\r100 %\\\\n')"])
subprocess.run([sys.executable, "-c", "raise KeyboardInterrupt"])
subprocess.run([sys.executable, "-c", "raise ValueError('a real error')"])
while count < 3:
    time.sleep(0.01)
print("no newline", end="")
screen.close(["the end"])
screen.close(["never shown"])
print("after")
"""


def test_what_others_write_stays_above_and_the_view_goes() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    code, written = on_terminal([sys.executable, "-c", PROGRAM], environment)
    assert code == 0, written
    assert "frame 1 of 99x29" in written and "frame 3 of 99x29" in written
    screen = Terminal()
    screen.feed(written.replace("\r\n", "\n"))
    rows = [row.rstrip() for row in screen.rows]
    assert rows[:4] == ["before", "from stdout", "from a child", "100 %"]
    assert "ValueError: a real error" in rows and not any("KeyboardInterrupt" in row for row in rows)
    assert rows[-4:] == ["no newline", "the end", "after", ""]
    assert not any("frame" in row or "second line" in row for row in rows)


BUSY = """
import os
from wsvis_core.monitor.screen import Screen
def draw(width, height):
    {draw}
screen = Screen(draw, seconds=0.05)
for _ in range({times}):
    os.write(2, {text})
screen.close(["the end"])
"""


def busy(draw: str, times: int, text: bytes) -> list[str]:
    """What a terminal shows in the end of a program that writes much."""
    program = BUSY.format(draw=draw, times=times, text=text)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    code, written = on_terminal(["timeout", "60", sys.executable, "-c", program], environment)
    assert code == 0, f"the program waits for ever: {written[-500:]}"
    return lines_of(written)


def test_a_bar_that_never_ends_its_line_stops_nobody() -> None:
    """Bars of libraries write a return and no new line, for hours: over a megabyte here."""
    rows = busy("return ['view']", 3000, b"\r" + b"#" * 500 + b" 10 %")
    assert rows[-1] == "the end" and rows[-2].endswith(" 10 %")
    assert sum(row.count("10 %") for row in rows) == 1


def test_a_line_without_end_stops_nobody() -> None:
    rows = busy("return ['view']", 3000, b"#" * 500)
    assert rows[-1] == "the end" and sum(row.count("#") for row in rows) == 3000 * 500


def test_a_view_that_fails_stops_nobody() -> None:
    rows = busy("raise ValueError('no such job')", 3000, b"line of a job" * 10 + b"\n")
    assert rows.count("line of a job" * 10) == 3000 and rows[-1] == "the end"
    assert any("the live view has ended, the run goes on (ValueError: no such job)" in row for row in rows)


@pytest.mark.parametrize("columns", [20, 40])
def test_frames_replace_each_other(columns: int) -> None:
    screen = Terminal(columns)
    frames = [["a", "b", "c"], ["d"], [], ["e", "f"]]
    before = 0
    for number, lines in enumerate(frames):
        screen.feed(frame_text(lines, [f"above {number}"], before))
        assert screen.rows == [*(f"above {i}" for i in range(number + 1)), *(lines or [""])]
        before = len(lines)


def test_lines_that_the_terminal_broke_are_cleared_too() -> None:
    screen = Terminal(10)
    screen.feed("x" * 25 + "\nshort")
    screen.feed(frame_text(["new"], [], rows_before=4))
    assert screen.rows == ["new"]


TRACEBACK = ["Traceback (most recent call last):", '  File "x.py", line 1, in <module>', "    import torch"]


def test_tracebacks_of_ctrl_c_are_left_out() -> None:
    interrupts = Interrupts()
    assert interrupts.without(["a", *TRACEBACK, "KeyboardInterrupt", "b"]) == ["a", "b"]
    assert interrupts.without(["a", *TRACEBACK, "ValueError: x", "b"]) == ["a", *TRACEBACK, "ValueError: x", "b"]
    assert interrupts.without(TRACEBACK[:2]) == []
    assert interrupts.without([TRACEBACK[2], "KeyboardInterrupt"]) == []
    assert interrupts.without([*TRACEBACK, *TRACEBACK, "KeyboardInterrupt"]) == TRACEBACK
    assert interrupts.without(TRACEBACK) == []
    assert interrupts.without(["  last"], last=True) == [*TRACEBACK, "  last"]


def test_only_a_terminal_that_understands_is_drawn_on(monkeypatch) -> None:
    leader, follower = pty.openpty()
    with open(follower, "w") as stream, open(leader, "rb"):
        monkeypatch.setenv("TERM", "xterm")
        assert is_terminal(stream)
        monkeypatch.setenv("TERM", "dumb")
        assert not is_terminal(stream)
    monkeypatch.setenv("TERM", "xterm")
    with open(os.devnull, "w") as stream:
        assert not is_terminal(stream)
