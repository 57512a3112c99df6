"""SIGTERM and SIGKILL to the training loop, in this process and in real ones."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from wsvis_core.storage.files import load_tensors
from wsvis_core.training.loop import Run, StepResult, train
from wsvis_core.training.randomness import torch_generator
from wsvis_core.training.schedules import build_optimizer, polynomial
from wsvis_core.training.signals import Stopped, leave_sigterm_to_the_trainer, noticed_sigterm

STEPS = 200
# A process that trains in a job, as the workflow's scripts do, and writes its weights at the end.
SCRIPT = """
import sys
from pathlib import Path
from wsvis_core.job import job
import {module} as toy

with job(sys.argv[1] + "/job.log", threads=1):
    toy.fit_and_write(Path(sys.argv[1]), checkpoint_seconds=1000.0, pause=0.01)
"""


def run_in(folder: Path, **options) -> Run:
    return Run("toy", folder / "training", {"lr": 1}, seed=3, device=torch.device("cpu"), **options)


def fit(run: Run, at: Callable[[int], None] = lambda iteration: None, *, steps: int = STEPS) -> nn.Module:
    """A model with a buffer and dropout, fitted to noise; at(i) is called inside step i."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.2), nn.Linear(3, 1))

    def step(batch: torch.Tensor, iteration: int) -> StepResult:
        at(iteration)
        return StepResult({"fit": (model(batch) - batch[:, :1]).square().mean()}, {})

    train(
        run,
        model,
        build_optimizer("adamw", [{"params": list(model.parameters()), "lr": 0.05}], momentum=0.9, weight_decay=0.01),
        polynomial(steps, 0.9),
        iterations=steps,
        make_batch=lambda i: torch.randn(16, 3, generator=torch_generator(3, i)),
        step=step,
        describe_batch=str,
    )
    return model


def fit_and_write(folder: Path, checkpoint_seconds: float, pause: float) -> None:
    """What a process of these tests does; it leaves a byte in `steps` for every step it begins."""

    def at(iteration: int) -> None:
        with open(folder / "steps", "ab") as stream:
            stream.write(b".")
        time.sleep(pause)

    torch.set_num_threads(1)
    model = fit(run_in(folder, checkpoint_seconds=checkpoint_seconds), at)
    torch.save(model.state_dict(), folder / "weights.pt")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, torch.Tensor]:
    return fit(run_in(tmp_path_factory.mktemp("undisturbed"), checkpoint_seconds=1000.0)).state_dict()


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def terminate_self() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("last", [0, 7, STEPS - 1])
def test_sigterm_finishes_the_step_saves_it_and_says_so(tmp_path, caplog, undisturbed, last):
    caplog.set_level(logging.INFO)
    run, before = run_in(tmp_path, checkpoint_seconds=1000.0), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        fit(run, lambda iteration: terminate_self() if iteration == last else None)
    assert type(caught.value) is Stopped and caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    said = [line for line in caplog.messages if "SIGTERM" in line]
    assert said == [f"toy: stopped by SIGTERM at step {last + 1} of {STEPS}; run the same command to go on"]
    assert load_tensors(run.checkpoint_path)["iteration"] == last + 1
    asked: list[int] = []
    assert_same(fit(run, asked.append).state_dict(), undisturbed)
    assert asked == list(range(last + 1, STEPS))


def test_the_old_handler_is_back_after_training_and_after_an_error(tmp_path):
    def mine(number, frame): ...

    before = signal.signal(signal.SIGTERM, mine)
    try:
        fit(run_in(tmp_path), steps=2)
        assert signal.getsignal(signal.SIGTERM) is mine
        with pytest.raises(ZeroDivisionError):
            fit(run_in(tmp_path / "again"), lambda iteration: 1 / 0, steps=2)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_second_sigterm_has_the_system_s_own_handling():
    before = signal.getsignal(signal.SIGTERM)
    with noticed_sigterm() as stop:
        assert not stop.received
        terminate_self()
        assert stop.received and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_signals_are_left_alone(tmp_path, undisturbed):
    before, handlers, models = signal.getsignal(signal.SIGTERM), [], []

    def work() -> None:
        models.append(fit(run_in(tmp_path), lambda i: handlers.append(signal.getsignal(signal.SIGTERM))))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert set(handlers) == {before}
    assert_same(models[0].state_dict(), undisturbed)


def test_sigterm_to_data_workers_disturbs_nothing(tmp_path, undisturbed):
    def terminate_workers(iteration: int) -> None:
        children = multiprocessing.active_children()
        assert children or iteration > STEPS - 5
        if iteration == 3:
            for child in children:
                os.kill(child.pid, signal.SIGTERM)

    assert_same(fit(run_in(tmp_path, workers=1), terminate_workers).state_dict(), undisturbed)


def test_a_worker_leaves_the_signal_to_its_trainer():
    before = signal.getsignal(signal.SIGTERM)
    try:
        leave_sigterm_to_the_trainer(0)
        terminate_self()
    finally:
        signal.signal(signal.SIGTERM, before)


def begun_steps(folder: Path) -> int:
    return (folder / "steps").stat().st_size if (folder / "steps").exists() else 0


def wait_for(condition: Callable[[], bool], alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert alive() and time.monotonic() < deadline
        time.sleep(0.001)


def wait_for_steps(folder: Path, count: int, alive: Callable[[], bool]) -> None:
    wait_for(lambda: begun_steps(folder) >= count, alive)


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])  # The latter is what optimisers import late.
    return context


# A killed process loses the steps after its last checkpoint, so there it writes one after every step.
@pytest.mark.parametrize(
    ("number", "exit_code", "checkpoint_seconds"), [(signal.SIGTERM, 143, 1000.0), (signal.SIGKILL, -9, 0.0)]
)
def test_five_signals_at_random_moments_change_nothing(
    tmp_path, processes, undisturbed, number, exit_code, checkpoint_seconds
):
    moments = random.Random(int(number))
    for attempt in range(6):
        process = processes.Process(target=fit_and_write, args=(tmp_path, checkpoint_seconds, 0.005))
        begun = begun_steps(tmp_path)
        process.start()
        if attempt < 5:
            wait_for_steps(tmp_path, begun + 1, process.is_alive)
            time.sleep(moments.uniform(0, 0.05))
            os.kill(process.pid, number)
        process.join()
        assert process.exitcode == (exit_code if attempt < 5 else 0)
    assert_same(load_tensors(tmp_path / "weights.pt"), undisturbed)
    # SIGTERM loses no step; a kill at most the one at hand.
    assert STEPS <= begun_steps(tmp_path) <= STEPS + (5 if number == signal.SIGKILL else 0)


def newest(folder: Path) -> int | None:
    """What tells one checkpoint from the next: when it was written, in nanoseconds."""
    path = folder / "training" / "checkpoint.pt"
    return path.stat().st_mtime_ns if path.exists() else None


def test_killed_after_the_first_checkpoint_of_every_start_it_goes_on(tmp_path, processes, undisturbed):
    """With the default time between checkpoints, which is longer than all starts together."""
    for attempt in range(6):
        process, before = processes.Process(target=fit_and_write, args=(tmp_path, 60.0, 0.005)), newest(tmp_path)
        process.start()
        if attempt < 5:
            wait_for(lambda before=before: newest(tmp_path) != before, process.is_alive)
            process.kill()
        process.join()
        assert process.exitcode == (-signal.SIGKILL if attempt < 5 else 0)
        if attempt < 5:
            assert load_tensors(tmp_path / "training" / "checkpoint.pt")["iteration"] > attempt
    assert_same(load_tensors(tmp_path / "weights.pt"), undisturbed)


def test_the_second_sigterm_ends_a_process_in_the_middle_of_a_step(tmp_path, processes):
    process = processes.Process(target=fit_and_write, args=(tmp_path, 1000.0, 60.0))
    process.start()
    wait_for_steps(tmp_path, 1, process.is_alive)
    began = time.monotonic()
    while process.is_alive():
        process.terminate()
        time.sleep(0.01)
    assert process.exitcode == -signal.SIGTERM and time.monotonic() - began < 30
    assert begun_steps(tmp_path) == 1 and not (tmp_path / "training" / "checkpoint.pt").exists()


def test_a_job_ends_with_143_on_sigterm(tmp_path):
    script = SCRIPT.format(module=Path(__file__).stem)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "WSVIS_DEVICE": "cpu"}
    victim = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment, stderr=subprocess.PIPE)
    wait_for_steps(tmp_path, 3, lambda: victim.poll() is None)
    victim.terminate()
    victim.communicate()
    assert victim.returncode == 143 and not (tmp_path / "weights.pt").exists()
    lines = (tmp_path / "job.log").read_text().splitlines()
    assert re.search(r" toy: stopped by SIGTERM at step \d+ of 200; run the same command to go on$", lines[-1])
    assert not any("Traceback" in line for line in lines)
