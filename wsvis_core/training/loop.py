"""The loop every trainer shares: seeded, resumable bit for bit on a CPU, stops on SIGTERM and on a bad loss."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from wsvis_core.errors import WsvisError
from wsvis_core.progress import Progress
from wsvis_core.storage.files import atomic_path, save_tensors
from wsvis_core.training.checkpoints import resume, save_checkpoint
from wsvis_core.training.randomness import seed_torch
from wsvis_core.training.run import Run
from wsvis_core.training.schedules import Schedule
from wsvis_core.training.signals import Stopped, leave_sigterm_to_the_trainer, noticed_sigterm

log = logging.getLogger(__name__)
RECORDS_PER_RUN = 200


@dataclass(frozen=True)
class StepResult:
    """What one step gives: losses to sum and minimise, and plain numbers to log."""

    losses: dict[str, Tensor]
    scalars: dict[str, float]


class _Batches(Dataset):
    """Batch i for i = 0..; lets a DataLoader prepare batches in worker processes."""

    def __init__(self, make_batch: Callable[[int], Any]) -> None:
        self._make_batch = make_batch

    def __getitem__(self, iteration: int) -> Any:
        return self._make_batch(iteration)


def train(
    run: Run,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    iterations: int,
    make_batch: Callable[[int], Any],
    step: Callable[[Any, int], StepResult],
    describe_batch: Callable[[Any], str],
    grad_clip: float | None = None,
    accumulate: int = 1,
) -> None:
    """Train `model` in place for `iterations` steps, from the last checkpoint if there is a fitting one.

    make_batch(i) is a pure function of i. step(batch, i) gives the losses. describe_batch names the batch's videos for
    the error when a loss or the norm of the gradient is not finite (WsvisError, before a weight changes; nothing is
    saved then). An interrupted run that is started again ends with the same weights, bit for bit on a CPU with the same
    number of threads (sums on a GPU differ slightly).

    accumulate: k batches per step, k·i … k·i + k - 1 of make_batch, each with 1/k of its losses; for losses that are
    means this equals a batch k times as large (batch norm aside). Iterations, schedule and records count steps.

    SIGTERM: the step at hand is finished and a checkpoint written, then the process ends with exit code 143 (Stopped);
    a second SIGTERM ends it at once. In a thread other than the main one, signals are left alone.
    """
    if accumulate < 1:
        raise ValueError(f"accumulate is {accumulate}; a step needs at least one batch")
    base_rates = [group["lr"] for group in optimizer.param_groups]
    with noticed_sigterm() as stop:
        start = done = saved = resume(run, model, optimizer)
        _cut_records(run.records_path, start)
        progress = Progress(run.name, total=iterations, unit="step", start=start)
        batches = iter(_loader(run, make_batch, range(start * accumulate, iterations * accumulate)))
        began = last_checkpoint = time.monotonic()
        waited = 0.0
        model.train()
        while done < iterations and not stop.received:
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * schedule(done)
            optimizer.zero_grad(set_to_none=True)
            parts, names = [], []
            for index in range(done * accumulate, (done + 1) * accumulate):
                asked = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - asked
                seed_torch(run.seed, run.name, index)
                parts.append(_add_gradients(step(batch, done), accumulate, done, describe_batch(batch), run))
                names.append(describe_batch(batch))
            if any(p.grad is not None for p in model.parameters()):
                _clip_finite(model, grad_clip, done, "; ".join(names), run)
                optimizer.step()
            result, total = _mean(parts)
            if _is_recorded(done, iterations):
                _record(run, done, optimizer.param_groups[0]["lr"], total, result)
            progress.advance(f"loss {total:.4f}")
            done += 1
            if time.monotonic() - last_checkpoint >= run.checkpoint_seconds:
                save_checkpoint(run, done, model, optimizer)
                saved, last_checkpoint = done, time.monotonic()
        if saved < done:
            save_checkpoint(run, done, model, optimizer)
        progress.close()
        log.info("%s: %.1f s of %.1f s were spent waiting for data", run.name, waited, time.monotonic() - began)
    if stop.received:
        log.info("%s: stopped by SIGTERM at step %d of %d; run the same command to go on", run.name, done, iterations)
        raise Stopped


def _loader(run: Run, make_batch: Callable[[int], Any], sampler: range) -> DataLoader:
    return DataLoader(
        _Batches(make_batch),
        batch_size=None,
        sampler=sampler,
        num_workers=run.workers,
        pin_memory=run.device.type == "cuda",
        worker_init_fn=leave_sigterm_to_the_trainer,
    )


def _add_gradients(
    result: StepResult, accumulate: int, iteration: int, batch: str, run: Run
) -> tuple[StepResult, float]:
    """Add the gradients of 1/accumulate of the losses; → the result without its graph, and the sum of the losses."""
    total = _checked_sum(result, iteration, batch, run)
    if total.requires_grad:
        (total / accumulate).backward()
    losses = {name: loss.detach() for name, loss in result.losses.items()}
    return StepResult(losses, result.scalars), total.item()


def _mean(parts: list[tuple[StepResult, float]]) -> tuple[StepResult, float]:
    """Losses, scalars and their total, as means over the batches of a step; each batch has the same names."""
    results = [result for result, _ in parts]
    losses = {name: torch.stack([result.losses[name] for result in results]).mean() for name in results[0].losses}
    scalars = {name: sum(result.scalars[name] for result in results) / len(parts) for name in results[0].scalars}
    return StepResult(losses, scalars), sum(total for _, total in parts) / len(parts)


def _checked_sum(result: StepResult, iteration: int, batch: str, run: Run) -> Tensor:
    total = torch.stack([loss.float() for loss in result.losses.values()]).sum()
    if not math.isfinite(total.item()):
        values = ", ".join(f"{name}={loss.item():.4g}" for name, loss in result.losses.items())
        raise WsvisError(
            f"{run.name}: the loss is not finite at iteration {iteration} ({values}); batch: {batch}. {_advice(run)}"
        )
    return total


def _clip_finite(model: nn.Module, largest: float | None, iteration: int, batch: str, run: Run) -> None:
    """Scale the gradients down to norm `largest`; WsvisError when the norm is not finite."""
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    if not math.isfinite(norm.item()):
        raise WsvisError(
            f"{run.name}: the norm of the gradient is not finite at iteration {iteration}; batch: {batch}. "
            f"{_advice(run)}"
        )
    if largest is not None:
        nn.utils.clip_grads_with_norm_(model.parameters(), largest, norm)


def _advice(run: Run) -> str:
    path = run.checkpoint_path
    saved = f"the last checkpoint is {path}" if path.exists() else "there is no checkpoint yet"
    return f"Lower the learning rate; {saved}"


def _is_recorded(iteration: int, iterations: int) -> bool:
    """About RECORDS_PER_RUN iterations of a run, and always the last."""
    return iteration % max(iterations // RECORDS_PER_RUN, 1) == 0 or iteration == iterations - 1


def _record(run: Run, iteration: int, lr: float, total: float, result: StepResult) -> None:
    """Append one line of scalars."""
    record = {"iteration": iteration, "lr": lr, "loss": total}
    record |= {
        f"loss_{name.removeprefix('loss_')}": loss.item() for name, loss in result.losses.items()
    } | result.scalars
    run.folder.mkdir(parents=True, exist_ok=True)
    with open(run.records_path, "a") as stream:
        stream.write(json.dumps(record) + "\n")


def _cut_records(path: Path, iteration: int) -> None:
    """Keep whole records of iterations below `iteration`; a line cut short by a kill goes."""
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    kept = [line for line in whole if json.loads(line)["iteration"] < iteration]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(kept))


def finish(run: Run, weights: Path, records: Path, payload: dict[str, Any]) -> None:
    """Write the declared outputs (weights file, scalar records) and remove the side folder."""
    with atomic_path(records) as temporary:
        shutil.copyfile(run.records_path, temporary)
    save_tensors(weights, payload)
    shutil.rmtree(run.folder)
