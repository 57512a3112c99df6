"""One training run in several processes on a CPU: real interpreters, gloo between them."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import load_tensors
from wsvis_core.training.loop import Run, StepResult, finish, train
from wsvis_core.training.processes import train_together
from wsvis_core.training.randomness import torch_generator
from wsvis_core.training.schedules import build_optimizer, polynomial

STEPS = 20
# What the job of a rule does, in a process of its own.
JOB = """
import sys
from functools import partial
from pathlib import Path
from wsvis_core.job import job
from wsvis_core.training.processes import train_together
import {module} as toy

folder = Path(sys.argv[1])
with job(str(folder / "job.log"), threads=1):
    run = toy.run_in(folder, processes=2, checkpoint_seconds=1000.0)
    train_together(partial(toy.fit, folder, steps=100000), run, shares=2)
"""


def run_in(folder: Path, **options) -> Run:
    options = {"checkpoint_seconds": 1000.0, **options}
    return Run("toy", folder / "training", {"lr": 1}, seed=3, device=torch.device("cpu"), **options)


class Model(nn.Module):
    """Dropout, a part that only odd batches reach, a part that none reaches, and a layer stored channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 1))
        self.body.to(memory_format=torch.channels_last)
        self.odd, self.unused = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, x: torch.Tensor, number: int) -> torch.Tensor:
        y = self.body(x)
        return self.odd(y) if number % 2 else y


def fit(
    folder: Path,
    run: Run,
    *,
    steps: int = STEPS,
    accumulate: int = 2,
    spoil_at: int | None = None,
    dies_at: int | None = None,
    how: str = "kill",
) -> None:
    """Train the model on noise; batch `spoil_at` has a bad loss, the helper that gets batch `dies_at` ends."""
    torch.manual_seed(run.team.rank)  # Weights that differ: all must take those of the leading process.
    model = Model()

    def step(batch: tuple[int, torch.Tensor], iteration: int) -> StepResult:
        number, x = batch
        if number == dies_at:
            assert not run.team.leads
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyError("lost")
        loss = (model(x, number) - x.mean((1, 2, 3))[:, None]).square().mean()
        losses = {"fit": loss * (float("nan") if number == spoil_at else 1.0)}
        if number % 2:
            losses["odd"] = 0.1 * model.odd.weight.square().sum()
        return StepResult(losses, {"number": float(number)})

    train(
        run,
        model,
        build_optimizer("adamw", [{"params": list(model.parameters()), "lr": 0.02}], momentum=0.9, weight_decay=0.1),
        polynomial(steps, 0.9),
        iterations=steps,
        make_batch=lambda i: (i, torch.randn(4, 3, 4, 4, generator=torch_generator(3, i))),
        step=step,
        describe_batch=lambda batch: f"video {batch[0]}",
        grad_clip=1.0,
        accumulate=accumulate,
    )
    finish(run, folder / "weights.pt", folder / "records.jsonl", {"model": model.state_dict()})


def together(folder: Path, processes: int, *, accumulate: int = 2, **options) -> tuple[dict, list[dict]]:
    """Weights and records of a run in some processes."""
    run = run_in(folder, processes=processes)
    train_together(partial(fit, folder, accumulate=accumulate, **options), run, shares=accumulate)
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return load_tensors(folder / "weights.pt")["model"], records


def test_two_processes_make_the_steps_of_one(tmp_path):
    """Of three batches a step the first process takes two."""
    alone, several = (together(tmp_path / name, count, accumulate=3) for name, count in (("a", 1), ("b", 2)))
    for one, two in zip(alone[1], several[1], strict=True):
        assert one.keys() == two.keys()
        assert all(two[name] == pytest.approx(value, abs=1e-4) for name, value in one.items())
    assert len(alone[1]) == STEPS
    for name, value in alone[0].items():
        assert torch.allclose(several[0][name], value, atol=1e-4), name
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["records.jsonl", "weights.pt"]


def test_more_processes_than_batches_are_not_started(tmp_path, caplog):
    together(tmp_path, 4, accumulate=1, steps=2)
    assert caplog.messages == [
        "toy: only 1 of 4 processes are used, because a step has no more batches to share; "
        "raise maskconsist.accumulate (and choose lr for the larger step) to use all"
    ]


def test_a_bad_loss_in_a_helper_ends_all_with_its_message(tmp_path):
    with pytest.raises(WsvisError) as caught:
        together(tmp_path, 2, spoil_at=7)
    assert str(caught.value).startswith("toy: the loss is not finite at iteration 3 (fit=nan, odd=")
    assert "; batch: video 7. Lower the learning rate; " in str(caught.value)
    assert not (tmp_path / "weights.pt").exists()


@pytest.mark.parametrize(("how", "ending"), [("kill", "was ended by signal 9"), ("raise", "ended with exit code 1")])
def test_a_helper_that_ends_early_ends_the_job(tmp_path, caplog, how, ending):
    began = time.monotonic()
    with pytest.raises(WsvisError) as caught:
        together(tmp_path, 2, dies_at=9, how=how)
    assert str(caught.value) == (
        f"toy: process 1 of 2 {ending}, so the others stopped; look above for what it said, "
        "then run the same command to go on from the last checkpoint"
    )
    said = [line for line in caplog.messages if line.startswith("process 1: ") and line.endswith("KeyError: 'lost'")]
    assert len(said) == (how == "raise")
    assert load_tensors(tmp_path / "training/checkpoint.pt")["iteration"] >= 1
    assert time.monotonic() - began < 120


def wait_for(condition, alive=lambda: True) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert alive() and time.monotonic() < deadline
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def victim(tmp_path):
    """A job of two processes in the middle of its training, and its helper's id."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    environment |= {"WSVIS_DEVICE": "cpu"}
    script = JOB.format(module=Path(__file__).stem)
    leader = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        records = tmp_path / "training/records.jsonl"
        wait_for(lambda: records.exists() and records.stat().st_size, lambda: leader.poll() is None)
        yield leader, children(leader.pid)[0]
    finally:
        leader.kill()
        leader.wait()


def test_sigterm_to_all_processes_stops_them_at_the_same_step(tmp_path, victim):
    leader, helper = victim
    os.killpg(leader.pid, signal.SIGTERM)
    assert leader.wait(120) == 143
    wait_for(lambda: not is_there(helper))
    last = (tmp_path / "job.log").read_text().splitlines()[-1]
    step = load_tensors(tmp_path / "training/checkpoint.pt")["iteration"]
    assert f" toy: stopped by SIGTERM at step {step} of 100000; run the same command to go on" in last


def test_a_helper_does_not_outlive_a_killed_leader(victim):
    leader, helper = victim
    leader.kill()
    wait_for(lambda: not is_there(helper))


def test_a_run_of_one_process_goes_on_with_two(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    expected = together(tmp_path / "whole", 1)
    with pytest.raises(WsvisError):
        fit(tmp_path, run_in(tmp_path, checkpoint_seconds=0.0), spoil_at=20)
    found = together(tmp_path, 2)
    assert "toy: resuming at iteration 10" in caplog.messages
    assert [record["iteration"] for record in found[1]] == list(range(STEPS))
    for one, two in zip(expected[1], found[1], strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-4)
    for name, value in expected[0].items():
        assert torch.allclose(found[0][name], value, atol=1e-4), name
