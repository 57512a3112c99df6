from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import load_tensors
from wsvis_core.training import loop
from wsvis_core.training.loop import Run, StepResult, finish, train
from wsvis_core.training.randomness import torch_generator
from wsvis_core.training.schedules import build_optimizer, polynomial

ITERATIONS = 12
TRUTH = torch.tensor([[1.0, -2.0, 0.5]])


class KilledError(Exception):
    """Stands for SIGKILL."""


class Clock:
    """A clock that stands still but for `spend`, which breaks as a killed process does at the second `killed_at`."""

    def __init__(self) -> None:
        self.now, self.killed_at = 0.0, math.inf

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now = min(self.now + seconds, self.killed_at)
        if self.now == self.killed_at:
            raise KilledError


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Waiting for the disk at every checkpoint is most of the time here, and no test can see it."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def run_in(folder: Path, **options) -> Run:
    options = {"settings": {"lr": 1}, "seed": 3, "checkpoint_seconds": 0.0, **options}
    return Run(name="toy", folder=folder / "training", device=torch.device("cpu"), **options)


def new_model() -> nn.Module:
    """A linear model with a buffer (batch norm) and randomness inside the network (dropout)."""
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.2), nn.Linear(3, 1))


def make_batch(iteration: int) -> tuple[int, torch.Tensor]:
    return iteration, torch.randn(16, 3, generator=torch_generator(3, iteration))


def fit(
    run: Run,
    *,
    optimizer: str = "sgd",
    iterations: int = ITERATIONS,
    breaks_at: int | None = None,
    spoil: dict[int, float] | None = None,
    batches=make_batch,
    asked: list[int] | None = None,
    lr: float = 0.05,
    **options,
) -> nn.Module:
    """Fit y = TRUTH·x, breaking as a killed process does inside step `breaks_at`; a step takes a second of a Clock."""
    model = new_model()
    groups = [{"params": list(model.parameters()), "lr": lr}]

    def step(batch: tuple[int, torch.Tensor], iteration: int) -> StepResult:
        number, x = batch
        assert number == iteration
        if asked is not None:
            asked.append(iteration)
        if iteration == breaks_at:
            raise KilledError
        if isinstance(run.clock, Clock):
            run.clock.spend(1.0)
        loss = (model(x) - x @ TRUTH.T).square().mean() * (spoil or {}).get(iteration, 1.0)
        return StepResult({"fit": loss, "small": 0.01 * loss}, {"size": float(len(x))})

    train(
        run,
        model,
        build_optimizer(optimizer, groups, momentum=0.9, weight_decay=0.01),
        polynomial(iterations, 0.9),
        iterations=iterations,
        make_batch=batches,
        step=step,
        describe_batch=lambda batch: f"video {batch[0]}, frame 0",
        **options,
    )
    return model


def records(run: Run) -> list[dict]:
    return [json.loads(line) for line in run.records_path.read_text().splitlines()]


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    first, second = a.state_dict(), b.state_dict()
    assert list(first) == list(second)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def test_the_loss_falls(tmp_path):
    def error(model: nn.Module) -> float:
        x = make_batch(1000)[1]
        return float((model.eval()(x) - x @ TRUTH.T).square().mean().detach())

    trained = fit(run_in(tmp_path, checkpoint_seconds=1000), iterations=60)
    assert error(trained) < 0.1 * error(new_model())


def test_records_hold_losses_rates_and_scalars(tmp_path):
    run = run_in(tmp_path)
    fit(run)
    found = records(run)
    assert [record["iteration"] for record in found] == list(range(ITERATIONS))
    for record in found:
        assert set(record) == {"iteration", "lr", "loss", "loss_fit", "loss_small", "size"}
        assert record["loss"] == pytest.approx(record["loss_fit"] + record["loss_small"])
        assert record["lr"] == pytest.approx(0.05 * (1 - record["iteration"] / ITERATIONS) ** 0.9)


def test_long_runs_record_about_two_hundred_lines_and_the_last(tmp_path):
    run = run_in(tmp_path, checkpoint_seconds=1000)
    fit(run, iterations=430)
    iterations = [record["iteration"] for record in records(run)]
    assert iterations == [*range(0, 430, 2), 429]


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """A clock by which writing a checkpoint takes half a second."""
    clock, save = Clock(), loop.save_checkpoint

    def slow_save(*arguments) -> None:
        clock.spend(0.5)
        save(*arguments)

    monkeypatch.setattr(loop, "save_checkpoint", slow_save)
    return clock


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(("breaks_at", "saved"), [(0, 0), (1, 1), (3, 3), (5, 5), (7, 5), (ITERATIONS - 1, 9)])
def test_killed_and_restarted_equals_uninterrupted(tmp_path, clock, optimizer, breaks_at, saved):
    """Checkpoints come after steps 1, 2 (0.5 s later), 3 (1 s), 5 (2 s) and 9 (4 s)."""
    whole = run_in(tmp_path / "whole")
    expected = fit(whole, optimizer=optimizer)
    run, asked = run_in(tmp_path / "killed", checkpoint_seconds=60.0, clock=clock), []
    with pytest.raises(KilledError):
        fit(run, optimizer=optimizer, breaks_at=breaks_at)
    found = fit(run, optimizer=optimizer, asked=asked)
    assert_same_weights(found, expected)
    assert run.records_path.read_bytes() == whole.records_path.read_bytes()
    assert asked == list(range(saved, ITERATIONS))


@pytest.mark.parametrize(("span", "starts"), [(2.0, 60), (5.0, 20), (20.0, 6), (60.0, 2)])
def test_killed_every_so_many_seconds_a_run_still_ends(tmp_path, clock, span, starts):
    """60 steps of 1 s; a start of 20 s keeps 9, since it is killed while it writes the checkpoint after its 17th."""
    expected = fit(run_in(tmp_path / "whole"), iterations=60)
    run, killed = run_in(tmp_path / "killed", checkpoint_seconds=60.0, clock=clock), 0
    while killed < 60:
        clock.killed_at = clock.now + span
        try:
            found = fit(run, iterations=60)
            break
        except KilledError:
            killed += 1
    assert killed == starts - 1
    assert_same_weights(found, expected)
    assert [record["iteration"] for record in records(run)] == list(range(60))


def test_killed_again_and_again(tmp_path):
    expected = fit(run_in(tmp_path / "whole"), optimizer="adamw")
    run = run_in(tmp_path / "killed")
    for breaks_at in (2, 3, 9):
        with pytest.raises(KilledError):
            fit(run, optimizer="adamw", breaks_at=breaks_at)
    assert_same_weights(fit(run, optimizer="adamw"), expected)


def test_killed_after_the_last_step(tmp_path):
    run, asked = run_in(tmp_path), []
    expected = fit(run)
    assert_same_weights(fit(run, asked=asked), expected)
    assert asked == [] and len(records(run)) == ITERATIONS


def test_a_line_cut_short_by_the_kill_goes(tmp_path):
    whole = run_in(tmp_path / "whole")
    fit(whole)
    run = run_in(tmp_path / "killed")
    with pytest.raises(KilledError):
        fit(run, breaks_at=6)
    with open(run.records_path, "a") as stream:
        stream.write('{"iteration": 6, "lo')
    fit(run)
    assert run.records_path.read_bytes() == whole.records_path.read_bytes()


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(tmp_path):
    whole = run_in(tmp_path / "whole")
    expected = fit(whole)
    run, asked = run_in(tmp_path / "damaged", keep_checkpoints=2), []
    with pytest.raises(KilledError):
        fit(run, breaks_at=6)
    run.checkpoint_path.write_bytes(b"")
    assert_same_weights(fit(run, asked=asked), expected)
    assert asked[0] == 5 and run.records_path.read_bytes() == whole.records_path.read_bytes()


def test_records_without_a_checkpoint_are_not_kept(tmp_path, clock):
    """Killed while it writes the first checkpoint."""
    run, clock.killed_at = run_in(tmp_path, clock=clock), 1.25
    with pytest.raises(KilledError):
        fit(run)
    clock.killed_at = math.inf
    assert not run.checkpoint_path.exists() and len(records(run)) == 1
    fit(run)
    assert [record["iteration"] for record in records(run)] == list(range(ITERATIONS))


def test_a_half_written_checkpoint_is_never_read(tmp_path, monkeypatch):
    run = run_in(tmp_path)
    with pytest.raises(KilledError):
        fit(run, breaks_at=4)
    run.checkpoint_path.with_name("checkpoint.pt.tmp").write_bytes(b"half")
    assert_same_weights(fit(run), fit(run_in(tmp_path / "whole")))


@pytest.mark.parametrize("other", [{"lr": 2}, {"lr": 1, "inputs": [["a", 1, 2]]}])
def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path, other):
    with pytest.raises(KilledError):
        fit(run_in(tmp_path), breaks_at=6)
    asked: list[int] = []
    run = run_in(tmp_path, settings=other)
    found = fit(run, asked=asked)
    assert asked == list(range(ITERATIONS)) and len(records(run)) == ITERATIONS
    assert_same_weights(found, fit(run_in(tmp_path / "fresh")))


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, factor):
    run = run_in(tmp_path)
    with pytest.raises(WsvisError) as caught:
        fit(run, spoil={4: factor})
    shown = "nan" if factor != factor else "inf"
    assert str(caught.value) == (
        f"toy: the loss is not finite at iteration 4 (fit={shown}, small={shown}); batch: video 4, frame 0. "
        f"Lower the learning rate; the last checkpoint is {run.checkpoint_path}"
    )
    saved = load_tensors(run.checkpoint_path)
    assert saved["iteration"] == 4 and all(v.isfinite().all() for v in saved["model"].values())
    assert [record["iteration"] for record in records(run)] == [0, 1, 2, 3]


def test_a_bad_loss_in_the_first_step_saves_nothing(tmp_path):
    run = run_in(tmp_path)
    with pytest.raises(WsvisError, match="iteration 0 .*there is no checkpoint yet"):
        fit(run, spoil={0: float("nan")})
    assert not run.checkpoint_path.exists() and not run.records_path.exists()


class SpoiltGradient(torch.autograd.Function):
    """The loss itself, with a gradient that is not finite."""

    @staticmethod
    def forward(context, loss, factor):
        context.factor = factor
        return loss.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * context.factor, None


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
@pytest.mark.parametrize("grad_clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_stops_the_run_before_a_weight_changes(tmp_path, factor, grad_clip):
    run, model = run_in(tmp_path), nn.Linear(3, 1)
    before: list[torch.Tensor] = []

    def step(batch: tuple[int, torch.Tensor], iteration: int) -> StepResult:
        before[:] = [p.detach().clone() for p in model.parameters()]
        loss = model(batch[1]).square().mean()
        return StepResult({"fit": SpoiltGradient.apply(loss, factor) if iteration == 2 else loss}, {})

    with pytest.raises(WsvisError) as caught:
        train(
            run,
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            lambda i: 1.0,
            iterations=5,
            make_batch=make_batch,
            step=step,
            describe_batch=lambda batch: f"video {batch[0]}, frame 0",
            grad_clip=grad_clip,
        )
    assert str(caught.value) == (
        "toy: the norm of the gradient is not finite at iteration 2; batch: video 2, frame 0. "
        f"Lower the learning rate; the last checkpoint is {run.checkpoint_path}"
    )
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert load_tensors(run.checkpoint_path)["iteration"] == 2 and len(records(run)) == 2


def test_gradients_are_clipped_to_the_largest_norm(tmp_path):
    """SGD's first step without momentum buffer or decay moves the weights by lr · gradient."""
    before = [p.detach().clone() for p in new_model().parameters()]

    def length_of_step(name: str, **options) -> float:
        model = fit(run_in(tmp_path / name), iterations=1, spoil={0: 1e4}, lr=1e-6, **options)
        after = model.parameters()
        moved = torch.cat([(a.detach() - b).flatten() for a, b in zip(after, before, strict=True)])
        return moved.norm().item()

    free, clipped = length_of_step("free"), length_of_step("clipped", grad_clip=0.5)
    assert clipped == pytest.approx(0.5e-6, rel=0.15) and free > 100 * clipped


def test_a_step_without_a_gradient_changes_no_weight(tmp_path):
    model = nn.Linear(2, 1)
    before = model.weight.detach().clone()
    train(
        run_in(tmp_path),
        model,
        torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9),
        lambda i: 1.0,
        iterations=2,
        make_batch=lambda i: i,
        step=lambda batch, i: StepResult({"nothing": torch.zeros(())}, {}),
        describe_batch=str,
    )
    assert torch.equal(model.weight, before)


def test_worker_processes_do_not_change_the_result(tmp_path):
    expected = fit(run_in(tmp_path / "here"))
    run = run_in(tmp_path / "workers", workers=1)
    with pytest.raises(KilledError):
        fit(run, breaks_at=5)
    assert_same_weights(fit(run), expected)
    two = run_in(tmp_path / "two", workers=2, checkpoint_seconds=1000)
    assert_same_weights(fit(two), expected)
    assert two.records_path.read_bytes() == run.records_path.read_bytes()


def test_the_state_of_the_global_generator_before_does_not_matter(tmp_path):
    torch.manual_seed(1)
    first = fit(run_in(tmp_path / "a"))
    torch.rand(100)
    assert_same_weights(fit(run_in(tmp_path / "b")), first)


def test_the_seed_matters(tmp_path):
    a, b = fit(run_in(tmp_path / "a")), fit(run_in(tmp_path / "b", seed=4))
    assert not torch.equal(a[2].weight, b[2].weight)


def test_finish_writes_the_outputs_and_removes_the_side_folder(tmp_path):
    run = run_in(tmp_path)
    model = fit(run)
    weights, log = tmp_path / "out" / "weights.pt", tmp_path / "out" / "training.jsonl"
    kept = run.records_path.read_bytes()
    finish(run, weights, log, {"model": model.state_dict()})
    assert not run.folder.exists() and log.read_bytes() == kept
    assert sorted(path.name for path in weights.parent.iterdir()) == ["training.jsonl", "weights.pt"]
    assert torch.equal(load_tensors(weights)["model"]["2.weight"], model[2].weight)


def test_a_kill_inside_finish_is_made_good_by_running_again(tmp_path, monkeypatch):
    run, asked = run_in(tmp_path), []
    model = fit(run)

    def killed(path):
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(shutil, "rmtree", killed)
        finish(run, tmp_path / "w.pt", tmp_path / "r.jsonl", {"model": model.state_dict()})
    first = (tmp_path / "w.pt").read_bytes()
    again = fit(run, asked=asked)
    finish(run, tmp_path / "w.pt", tmp_path / "r.jsonl", {"model": again.state_dict()})
    assert asked == [] and (tmp_path / "w.pt").read_bytes() == first and not run.folder.exists()


def test_a_checkpoint_whose_records_are_gone_is_not_continued(tmp_path):
    run, asked = run_in(tmp_path), []
    model = fit(run)
    records = run.records_path.read_text()
    run.records_path.unlink()
    again = fit(run, asked=asked)
    assert asked[0] == 0 and run.records_path.read_text() == records
    assert torch.equal(again[2].weight, model[2].weight)


def test_a_run_s_digest_covers_the_settings_only(tmp_path):
    run = run_in(tmp_path)
    assert replace(run, workers=3, checkpoint_seconds=9, folder=tmp_path).digest == run.digest
    assert replace(run, settings={"lr": 3}).digest != run.digest


def fit_linear(run: Run, accumulate: int, batches, *, breaks_at: int = -1, spoil_at: int = -1) -> nn.Module:
    """A linear model (no batch norm) on means over the batches, breaking before batch `breaks_at`."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def step(batch: tuple[int, torch.Tensor], iteration: int) -> StepResult:
        number, x = batch
        assert number // accumulate == iteration
        if number == breaks_at:
            raise KilledError
        loss = (model(x) - x @ TRUTH.T).square().mean()
        return StepResult({"fit": loss / 0 if number == spoil_at else loss}, {"number": float(number)})

    train(
        run,
        model,
        torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        polynomial(ITERATIONS, 0.9),
        iterations=ITERATIONS,
        make_batch=batches,
        step=step,
        describe_batch=lambda batch: f"video {batch[0]}",
        grad_clip=1.0,
        accumulate=accumulate,
    )
    return model


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_batches_equal_one_larger_batch(tmp_path, accumulate):
    def large(iteration: int) -> tuple[int, torch.Tensor]:
        parts = range(iteration * accumulate, (iteration + 1) * accumulate)
        return iteration, torch.cat([make_batch(part)[1] for part in parts])

    one, many = run_in(tmp_path / "one"), run_in(tmp_path / "many")
    expected, found = fit_linear(one, 1, large), fit_linear(many, accumulate, make_batch)
    for p, q in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=0, atol=1e-6)
    for a, b in zip(records(many), records(one), strict=True):
        assert a["iteration"] == b["iteration"] and a["lr"] == b["lr"]
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-6) and a["loss_fit"] == pytest.approx(a["loss"])
        assert a["number"] == a["iteration"] * accumulate + (accumulate - 1) / 2


@pytest.mark.parametrize("breaks_at", [0, 1, 13, 14])
def test_killed_between_accumulated_batches_equals_uninterrupted(tmp_path, breaks_at):
    whole, run = run_in(tmp_path / "whole"), run_in(tmp_path / "killed")
    expected = fit_linear(whole, 3, make_batch)
    with pytest.raises(KilledError):
        fit_linear(run, 3, make_batch, breaks_at=breaks_at)
    assert_same_weights(fit_linear(run, 3, make_batch), expected)
    assert run.records_path.read_bytes() == whole.records_path.read_bytes()


def test_a_bad_loss_in_an_accumulated_step_names_its_batch(tmp_path):
    run = run_in(tmp_path)
    with pytest.raises(WsvisError, match=r"the loss is not finite at iteration 4 \(fit=inf\); batch: video 13\. "):
        fit_linear(run, 3, make_batch, spoil_at=13)
    assert load_tensors(run.checkpoint_path)["iteration"] == 4


def test_a_step_needs_a_batch(tmp_path):
    with pytest.raises(ValueError, match="^accumulate is 0; a step needs at least one batch$"):
        fit_linear(run_in(tmp_path), 0, make_batch)
