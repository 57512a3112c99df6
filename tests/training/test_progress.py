from __future__ import annotations

import io
import logging
import re
import sys

import pytest

from wsvis_core import progress
from wsvis_core.progress import Progress


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="wsvis_core.progress")
    return lambda: caplog.messages


@pytest.fixture
def now(monkeypatch):
    """A clock that the test moves."""
    moment = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: moment[0])
    return moment


def test_a_line_every_half_minute_with_rate_and_time_left(lines, now):
    shown = Progress("flow s.h5", total=100, unit="video")
    for _ in range(40):
        now[0] += 2
        shown.advance("loss 0.5")
    shown.close()
    assert lines() == [
        "flow s.h5: 15/100 videos, 0.50/s, 2.8 min left, loss 0.5",
        "flow s.h5: 30/100 videos, 0.50/s, 2.3 min left, loss 0.5",
        "flow s.h5: 40 videos in 80.0 s",
    ]


def test_steps_of_an_earlier_attempt_count_as_done_but_not_for_the_rate(lines, now):
    shown = Progress("train", total=100, unit="step", start=90)
    for _ in range(2):
        now[0] += 30
        shown.advance()
    shown.close()
    assert lines() == [
        "train: 91/100 steps, 0.03/s, 4.5 min left",
        "train: 92/100 steps, 0.03/s, 4.0 min left",
        "train: 2 steps in 60.0 s",
    ]


def test_nothing_to_do(lines):
    Progress("empty", total=0, unit="video").close()
    assert len(lines()) == 1 and re.fullmatch(r"empty: 0 videos in \d\.\d s", lines()[0])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch, lines):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    shown = Progress("flow", total=3, unit="video", start=1)
    shown.advance("a note")
    shown.advance()
    shown.close()
    assert "flow" in screen.getvalue() and "3/3" in screen.getvalue() and len(lines()) == 1
