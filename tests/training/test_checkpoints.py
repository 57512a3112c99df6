from __future__ import annotations

import logging
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import load_tensors
from wsvis_core.training.checkpoints import load_newest, remove_unfinished, resume, save_checkpoint
from wsvis_core.training.run import Run


@pytest.fixture(autouse=True)
def all_messages(caplog):
    caplog.set_level(logging.INFO)


def run_in(folder: Path, **options) -> Run:
    options = {"settings": {"lr": 1}, **options}
    run = Run("toy", folder / "training", seed=3, device=torch.device("cpu"), **options)
    run.folder.mkdir(exist_ok=True)
    run.records_path.touch()
    return run


def new_model() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(2, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def save(run: Run, *iterations: int) -> None:
    """A checkpoint per iteration, whose weights all are the iteration."""
    model, optimizer = new_model()
    for iteration in iterations:
        nn.init.constant_(model.weight, iteration)
        save_checkpoint(run, iteration, model, optimizer)
    run.records_path.touch()


def resumed(run: Run) -> int:
    """The iteration resumed at; the weights must be those of that iteration."""
    model, optimizer = new_model()
    start = resume(run, model, optimizer)
    assert start == 0 or (model.weight == start).all()
    return start


def kept(run: Run) -> dict[str, int]:
    return {path.name: load_tensors(path)["iteration"] for path in sorted(run.folder.glob("*.pt*"))}


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (1, {"checkpoint.pt": 4}),
        (2, {"checkpoint-1.pt": 3, "checkpoint.pt": 4}),
        (9, {"checkpoint-1.pt": 3, "checkpoint-2.pt": 2, "checkpoint-3.pt": 1, "checkpoint.pt": 4}),
    ],
)
def test_the_last_checkpoints_are_kept(tmp_path, keep, expected):
    run = run_in(tmp_path, keep_checkpoints=keep)
    save(run, 1, 2, 3, 4)
    assert kept(run) == expected and resumed(run) == 4


def test_when_fewer_are_kept_than_before_the_oldest_go(tmp_path):
    save(run_in(tmp_path, keep_checkpoints=4), 1, 2, 3, 4)
    run = run_in(tmp_path, keep_checkpoints=2)
    assert resumed(run) == 4
    save(run, 5)
    assert kept(run) == {"checkpoint-1.pt": 4, "checkpoint.pt": 5}


def test_a_run_keeps_at_least_one(tmp_path):
    with pytest.raises(ValueError, match="^keep_checkpoints is 0; a run needs at least one$"):
        replace(run_in(tmp_path), keep_checkpoints=0)


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[: len(content) // 2], lambda _: b"x"])
def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path, caplog, damage):
    run = run_in(tmp_path, keep_checkpoints=3)
    save(run, 1, 2, 3)
    run.checkpoint_path.write_bytes(damage(run.checkpoint_path.read_bytes()))
    assert resumed(run) == 2
    older = run.folder / "checkpoint-1.pt"
    assert caplog.messages[0].startswith(f"toy: {run.checkpoint_path} cannot be read as a weights file: ")
    assert caplog.messages[1:] == [
        f"toy: going back to {older} in place of the damaged checkpoint",
        "toy: resuming at iteration 2",
    ]
    # The damaged one does not push a good one out.
    save(run, 5)
    assert kept(run) == {"checkpoint-1.pt": 2, "checkpoint-2.pt": 1, "checkpoint.pt": 5}


def test_several_damaged_ones_in_a_row(tmp_path):
    run = run_in(tmp_path, keep_checkpoints=4)
    save(run, 1, 2, 3, 4)
    for age in (0, 1):
        run.checkpoint_of_age(age).write_bytes(b"")
    assert resumed(run) == 2 and kept(run) == {"checkpoint-1.pt": 1, "checkpoint.pt": 2}


def test_when_no_checkpoint_can_be_read_nothing_is_removed(tmp_path):
    run = run_in(tmp_path, keep_checkpoints=2)
    save(run, 1, 2)
    for path in run.folder.glob("*.pt"):
        path.write_bytes(b"")
    message = (
        f"toy: no checkpoint in {run.folder} can be read (checkpoint.pt, checkpoint-1.pt); look at that disk, "
        f"then delete the folder to start afresh"
    )
    with pytest.raises(WsvisError, match=f"^{re.escape(message)}$"):
        resumed(run)
    assert len(list(run.folder.glob("*.pt"))) == 2


def test_a_full_disk_costs_no_checkpoint(tmp_path, monkeypatch):
    run = run_in(tmp_path, keep_checkpoints=2)
    save(run, 1, 2)

    def full(value, stream):
        stream.write(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(torch, "save", full)
        save(run, 3)
    assert resumed(run) == 2
    save(run, 3)
    assert kept(run) == {"checkpoint-1.pt": 2, "checkpoint.pt": 3}


@pytest.mark.parametrize("replaced", [0, 1, 2])
def test_a_kill_between_the_renames_costs_at_most_the_newest(tmp_path, monkeypatch, replaced):
    run = run_in(tmp_path, keep_checkpoints=3)
    save(run, 1, 2, 3)
    calls: list[Path] = []
    rename = Path.replace

    def stopping(source, target):
        if len(calls) == replaced:
            raise KeyboardInterrupt
        calls.append(target)
        rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("os.replace", stopping)
        save(run, 4)
    assert resumed(run) == 3
    save(run, 5)
    assert kept(run)["checkpoint.pt"] == 5 and kept(run)["checkpoint-1.pt"] == 3


def test_without_a_checkpoint_or_without_records_it_starts_afresh(tmp_path):
    run = run_in(tmp_path, keep_checkpoints=2)
    assert resumed(run) == 0
    run = run_in(tmp_path, keep_checkpoints=2)
    save(run, 1, 2)
    run.records_path.unlink()
    assert resumed(run) == 0 and not run.folder.exists()


def test_other_settings_are_named_before_it_starts_afresh(tmp_path, caplog):
    save(run_in(tmp_path, settings={"settings": {"cam": {"lr": 0.1, "steps": (1, 2)}}, "inputs": [["a", 1, 2]]}), 4)
    run = run_in(tmp_path, settings={"settings": {"cam": {"lr": 0.2, "steps": (1, 3)}}, "inputs": [["a", 9, 2]]})
    assert resumed(run) == 0 and not run.folder.exists()
    aside = next(tmp_path.glob("*.old-*"))
    assert caplog.messages == [
        f"toy: starting afresh; the unfinished run is kept in {aside}, and since it was begun, there changed\n"
        '  inputs.0: ["a", 1, 2] -> ["a", 9, 2]\n'
        "  settings.cam.lr: 0.1 -> 0.2\n"
        "  settings.cam.steps: [1, 2] -> [1, 3]"
    ]


def test_of_many_changes_the_first_are_named(tmp_path, caplog):
    save(run_in(tmp_path, settings={f"x{i:02d}": 1 for i in range(30)}), 4)
    assert resumed(run_in(tmp_path, settings={f"x{i:02d}": 2 for i in range(30)})) == 0
    lines = caplog.messages[0].splitlines()
    assert len(lines) == 22 and lines[1] == "  x00: 1 -> 2"
    assert lines[-1] == "  and 10 more"


def test_settings_are_plain_values_whatever_holds_them(tmp_path):
    class Section(dict):
        """Such as a workflow engine may hand over."""

    settings = Section(cam=Section(steps=(1, 2)), none=None)
    run = run_in(tmp_path, settings=settings)
    save(run, 1)
    stored = load_tensors(run.checkpoint_path)["settings"]
    assert stored == {"cam": {"steps": [1, 2]}, "none": None} and type(stored["cam"]) is dict
    assert resumed(run) == 1


def test_a_checkpoint_of_an_earlier_version_names_no_settings(tmp_path, caplog):
    run = run_in(tmp_path)
    save(run, 4)
    checkpoint = load_tensors(run.checkpoint_path)
    del checkpoint["settings"]
    torch.save(checkpoint, run.checkpoint_path)
    assert resumed(run) == 4
    assert resumed(replace(run, settings={"lr": 2})) == 0
    assert caplog.messages[-1].endswith(" was begun, there changed settings or inputs that it does not name")


def test_an_edit_that_is_undone_gives_the_unfinished_run_back(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first, second = run_in(tmp_path, settings={"lr": 1}), run_in(tmp_path, settings={"lr": 2})
    save(first, 1, 4)
    first.records_path.write_text("first")
    assert resumed(second) == 0
    save(second, 7)
    assert resumed(first) == 4 and first.records_path.read_text() == "first"
    assert "toy: taking up the run of the same settings that had been set aside" in caplog.messages
    assert resumed(second) == 7
    # Only the last unfinished one is kept, and none when a run is finished.
    assert resumed(run_in(tmp_path, settings={"lr": 3})) == 0
    assert [path.name for path in tmp_path.iterdir()] == [second.aside(second.digest).name]
    save(second, 8)
    remove_unfinished(second)
    assert list(tmp_path.iterdir()) == []


def test_a_kill_while_a_run_is_set_aside_loses_nothing(tmp_path, monkeypatch):
    first, second = run_in(tmp_path, settings={"lr": 1}), run_in(tmp_path, settings={"lr": 2})
    save(first, 4)
    assert resumed(second) == 0
    save(second, 7)
    rename, calls = os.replace, []

    def killed(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("os.replace", killed)
        resumed(first)
    assert not first.folder.exists()
    assert resumed(first) == 4 and resumed(second) == 7


class Sum:
    """A watch that counts."""

    def __init__(self, total: int = 0) -> None:
        self.total = total

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]


def test_what_is_being_added_up_is_saved_too(tmp_path):
    run, (model, optimizer) = run_in(tmp_path), new_model()
    run.folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(run, 3, model, optimizer, Sum(11))
    found = Sum()
    assert resume(run, model, optimizer, found) == 3 and found.total == 11
    other = Sum()
    assert load_newest(run, model, optimizer, other) == 3 and other.total == 11
    # A checkpoint written without one leaves the watch as it is.
    save_checkpoint(run, 4, model, optimizer)
    assert resume(run, model, optimizer, found) == 4 and found.total == 11
