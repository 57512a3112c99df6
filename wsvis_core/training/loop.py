"""The loop every trainer shares: seeded, resumable bit for bit on a CPU, stops on SIGTERM and on a bad loss."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from wsvis_core.errors import WsvisError
from wsvis_core.progress import Progress
from wsvis_core.storage.files import atomic_path, save_tensors
from wsvis_core.training.checkpoints import load_newest, remove_unfinished, resume, save_checkpoint
from wsvis_core.training.pace import CheckpointPace
from wsvis_core.training.randomness import seed_torch
from wsvis_core.training.records import Records, is_recorded
from wsvis_core.training.reports import BatchReport, Share, StepResult, Watch, mean_total, step_record, together
from wsvis_core.training.run import Run
from wsvis_core.training.schedules import Schedule
from wsvis_core.training.signals import Stopped, leave_sigterm_to_the_trainer, noticed_sigterm
from wsvis_core.training.team import share_of

log = logging.getLogger(__name__)


class _Batches(Dataset):
    """Batch i for i = 0..; lets a DataLoader prepare batches in worker processes."""

    def __init__(self, make_batch: Callable[[int], Any]) -> None:
        self._make_batch = make_batch

    def __getitem__(self, iteration: int) -> Any:
        return self._make_batch(iteration)


class _Waiting:
    """An iterator that adds up how long one waits for it."""

    def __init__(self, items: Iterator[Any], clock: Callable[[], float]) -> None:
        self._items, self._clock, self.seconds = items, clock, 0.0

    def __next__(self) -> Any:
        asked = self._clock()
        item = next(self._items)
        self.seconds += self._clock() - asked
        return item


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
    watch: Watch | None = None,
) -> None:
    """Train `model` in place for `iterations` steps, from the last checkpoint if there is a fitting one.

    make_batch(i) is a pure function of i. step(batch, i) gives the losses. describe_batch names the batch's videos for
    the error when a loss or the norm of the gradient is not finite (WsvisError, before a weight changes; nothing is
    saved then). An interrupted run that is started again ends with the same weights, bit for bit on a CPU with the same
    number of threads (sums on a GPU differ slightly).

    accumulate: k batches per step, k·i … k·i + k - 1 of make_batch, each with 1/k of its losses; for losses that are
    means this equals a batch k times as large (batch norm aside). Iterations, schedule and records count steps.

    Of several processes (`run.team`) each takes its share of these k batches and all make the same step; only the
    order of sums differs from one process. Batch norm that learns its statistics has those of the leading process.

    Every start writes a checkpoint after its first step and the next ones as `CheckpointPace` says. The leading process
    alone decides and writes; the others wait for it in the next step.

    SIGTERM: the step at hand is finished and a checkpoint written, then the process ends with exit code 143 (Stopped);
    a second SIGTERM ends it at once. In a thread other than the main one, signals are left alone.
    """
    if accumulate < 1:
        raise ValueError(f"accumulate is {accumulate}; a step needs at least one batch")
    base_rates = [group["lr"] for group in optimizer.param_groups]
    stopped = False
    with noticed_sigterm() as stop:
        start = done = saved = _begin(run, model, optimizer, watch)
        records = Records(run, start) if run.team.leads else None
        progress = Progress(run.name, total=iterations, unit="step", start=start) if run.team.leads else None
        loader = _loader(run, make_batch, _own_batches(run, start, iterations, accumulate))
        batches = _Waiting(iter(loader), run.clock)
        began, pace = run.clock(), CheckpointPace(run.checkpoint_seconds, run.clock)
        model.train()
        while done < iterations:
            stopped = run.team.any(stop.received)
            if stopped:
                break
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * schedule(done)
            optimizer.zero_grad(set_to_none=True)
            share = _own_share(run, batches, step, describe_batch, done, accumulate)
            reports = together(run.team.gather(share))
            run.team.add_gradients(model)
            if any(p.grad is not None for p in model.parameters()):
                _clip_finite(model, grad_clip, done, "; ".join(report.name for report in reports), run)
                optimizer.step()
            if watch is not None and run.team.leads:
                watch.add([report.seen for report in reports], done, iterations)
            if records is not None and is_recorded(done, iterations):
                records.add(step_record(done, optimizer.param_groups[0]["lr"], reports, watch))
            done += 1
            if progress is not None:
                progress.advance(f"loss {mean_total(reports):.4f}")
            if run.team.leads and pace.due():
                with pace.writing():
                    save_checkpoint(run, done, model, optimizer, watch)
                saved = done
        if run.team.leads and saved < done:
            save_checkpoint(run, done, model, optimizer, watch)
        if records is not None and progress is not None:
            records.close()
            progress.close()
        waited, spent = batches.seconds, run.clock() - began
        log.info("%s: %.1f s of %.1f s were spent waiting for data", run.name, waited, spent)
    if stopped or stop.received:
        log.info("%s: stopped by SIGTERM at step %d of %d; run the same command to go on", run.name, done, iterations)
        raise Stopped


def _begin(run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, watch: Watch | None) -> int:
    """The iteration to start with; all processes have the state of the leading one, who alone touches the files."""
    own = resume(run, model, optimizer, watch) if run.team.leads else 0
    start = run.team.gather(own)[0]
    if start and not run.team.leads:
        load_newest(run, model, optimizer, watch)
    run.team.share_weights(model)
    return start


def _own_batches(run: Run, start: int, iterations: int, accumulate: int) -> Sequence[int]:
    """Numbers of the batches that this process takes of steps start … iterations - 1."""
    if run.team.size == 1:
        return range(start * accumulate, iterations * accumulate)
    own = share_of(run.team.rank, run.team.size, accumulate)
    return [i * accumulate + k for i in range(start, iterations) for k in own]


def _own_share(
    run: Run,
    batches: _Waiting,
    step: Callable[[Any, int], StepResult],
    describe_batch: Callable[[Any], str],
    iteration: int,
    accumulate: int,
) -> Share:
    """Add the gradients of this process's batches of a step; stops at the first loss that is not finite."""
    share = Share()
    for k in share_of(run.team.rank, run.team.size, accumulate):
        batch = next(batches)
        name = describe_batch(batch)
        seed_torch(run.seed, run.name, iteration * accumulate + k)
        try:
            share.reports[k] = _add_gradients(step(batch, iteration), accumulate, iteration, name, run)
        except WsvisError as error:
            share.error = str(error)
            break
    return share


def _loader(run: Run, make_batch: Callable[[int], Any], sampler: Sequence[int]) -> DataLoader:
    return DataLoader(
        _Batches(make_batch),
        batch_size=None,
        sampler=sampler,
        num_workers=run.workers,
        pin_memory=run.device.type == "cuda",
        worker_init_fn=leave_sigterm_to_the_trainer,
    )


def _add_gradients(result: StepResult, accumulate: int, iteration: int, name: str, run: Run) -> BatchReport:
    """Add the gradients of 1/accumulate of the losses; → the result without its graph, and the sum of the losses."""
    total = _checked_sum(result, iteration, name, run)
    if total.requires_grad:
        (total / accumulate).backward()
    values = torch.stack([loss.detach().float() for loss in result.losses.values()]).tolist()
    losses = dict(zip(result.losses, values, strict=True))
    return BatchReport(name, losses, result.scalars, total.item(), result.seen)


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


def finish(run: Run, weights: Path, records: Path, payload: dict[str, Any]) -> None:
    """Write the declared outputs (weights file, scalar records) and remove the side folder; the leader does it."""
    if not run.team.leads:
        return
    with atomic_path(records) as temporary:
        shutil.copyfile(run.records_path, temporary)
    save_tensors(weights, payload)
    remove_unfinished(run)
