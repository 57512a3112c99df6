"""Records of steps, TensorBoard's files, and what the environment says about them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from wsvis_core.training.records import Records
from wsvis_core.training.reports import BatchReport, step_record
from wsvis_core.training.run import Run


def run_in(folder: Path, **options) -> Run:
    return Run("toy", folder / "training", {}, seed=0, device=torch.device("cpu"), **options)


def report(losses: dict[str, float], scalars: dict[str, float]) -> BatchReport:
    return BatchReport("video 1", losses, scalars, sum(losses.values()), None)


def test_batches_of_a_step_need_not_report_the_same():
    """A batch without any target has one loss, 0; the losses of a record still add up to its total."""
    reports = [report({"loss_mask": 1.0, "box": 3.0}, {"hits": 0.5}), report({"loss_nothing": 0.0}, {})]
    record = step_record(7, 0.1, reports, None)
    assert record == {
        "iteration": 7,
        "lr": 0.1,
        "loss": 2.0,
        "loss_mask": 0.5,
        "loss_box": 1.5,
        "loss_nothing": 0.0,
        "hits": 0.5,
    }


class FakeWriter:
    """Stands for TensorBoard's writer, which is not among the requirements."""

    made: list[FakeWriter] = []

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, set(), False
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.add((name, value, step))

    def close(self):
        self.closed = True


@pytest.fixture
def tensorboard(monkeypatch):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = FakeWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(FakeWriter, "made", [])
    return FakeWriter.made


def test_tensorboard_gets_every_record(tmp_path, tensorboard):
    run = run_in(tmp_path, event_files=True)
    stale = tmp_path / "tensorboard" / "of an earlier run"
    stale.parent.mkdir()
    stale.touch()
    records = Records(run, 0)
    assert not stale.exists()
    records.add({"iteration": 0, "loss": 2.0, "lr": 0.1})
    again = Records(run, 1)
    again.add({"iteration": 1, "loss": 1.0})
    again.close()
    first, second = tensorboard
    assert (first.folder, first.purge_step, second.purge_step) == (str(tmp_path / "tensorboard"), 0, 1)
    assert first.scalars == {("loss", 2.0, 0), ("lr", 0.1, 0)} and second.scalars == {("loss", 1.0, 1)}
    assert second.closed and len(run.records_path.read_text().splitlines()) == 2


def test_without_tensorboard_it_says_so_and_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run = run_in(tmp_path, event_files=True)
    records = Records(run, 0)
    records.add({"iteration": 0, "loss": 2.0})
    records.close()
    assert json.loads(run.records_path.read_text()) == {"iteration": 0, "loss": 2.0}
    assert caplog.messages == [
        "toy: WSVIS_TENSORBOARD is set but tensorboard is not installed (pip install tensorboard); training goes on "
        f"without its files, {run.records_path} has the same numbers"
    ]


def test_tensorboard_is_not_even_looked_for_unless_asked(tmp_path, tensorboard):
    Records(run_in(tmp_path), 0).close()
    assert tensorboard == []
