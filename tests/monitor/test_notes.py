"""The note beside a job's log: what it says, how often it is written, and that it never harms the job."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsvis_core import notes
from wsvis_core.notes import NoteFile, note_path, noted, read_note
from wsvis_core.progress import Progress


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "train_cam.log"


@pytest.fixture
def now(monkeypatch):
    """A clock that the test moves; the date goes on by itself."""
    moment = [100.0]
    monkeypatch.setattr(notes.time, "monotonic", lambda: moment[0])
    return moment


def test_a_job_says_how_far_it_is(log, now) -> None:
    with noted(log):
        assert read_note(log).total == 0
        progress = Progress("train_cam", total=100, unit="step", start=20)
        assert (read_note(log).done, read_note(log).total, read_note(log).start) == (20, 100, 20)
        for _ in range(10):
            now[0] += 0.5
            progress.advance("loss 0.3")
        note = read_note(log)
        assert (note.done, note.unit, note.text) == (28, "step", "loss 0.3")  # every two seconds
    assert list(log.parent.iterdir()) == []


def test_the_last_step_is_noted_whenever_it_comes(log, now) -> None:
    with noted(log):
        progress = Progress("flow", total=2, unit="video")
        progress.advance()
        assert read_note(log).done == 0
        progress.advance()
        assert read_note(log).done == 2


def test_without_a_job_nothing_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Progress("flow", total=2, unit="video").advance()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_takes_the_note_and_not_the_job(small_disk) -> None:
    log = small_disk.folder / "train_cam.log"
    with noted(log):
        with small_disk.filled():
            NoteFile(note_path(log)).write(1, 2, 0, "step", "x" * 5000)
        NoteFile(note_path(log)).write(1, 2, 0, "step")
        assert read_note(log).done == 1


def test_a_folder_that_cannot_be_written_takes_the_note_and_not_the_job(tmp_path) -> None:
    with noted(tmp_path / "none" / "train_cam.log"):
        Progress("train_cam", total=2, unit="step").advance()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"done": 1}', '{"unknown": 1}'])
def test_what_cannot_be_read_is_no_note(log, content) -> None:
    note_path(log).write_text(content)
    assert read_note(log) is None
    note_path(log).unlink()
    assert read_note(log) is None
