"""Checkpoints of a run: written whole or not at all, the last few kept, and continued only by the same work."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import atomic_path, dump_tensors, load_tensors
from wsvis_core.training.differences import setting_differences
from wsvis_core.training.run import Run

log = logging.getLogger(__name__)
LISTED_DIFFERENCES = 20


class Watch(Protocol):
    """What adds up numbers between two records of a run; checkpoints carry it, so that a kill changes no record."""

    def state_dict(self) -> dict[str, Any]:
        """The state as plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        ...


def save_checkpoint(
    run: Run, iteration: int, model: nn.Module, optimizer: torch.optim.Optimizer, watch: Watch | None = None
) -> None:
    """Weights, optimiser and the number of finished steps; random state follows from the seed and that number.

    The older checkpoints move on by one only when the new one is written, so that a full disk costs none of them.
    """
    work = {"iteration": iteration, "digest": run.digest, "settings": _plain_settings(run)}
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    if watch is not None:
        state["watch"] = watch.state_dict()
    with atomic_path(run.checkpoint_path) as temporary:
        dump_tensors({**work, **state}, temporary)
        for age in range(run.keep_checkpoints - 1, 0, -1):
            if run.checkpoint_of_age(age - 1).exists():
                os.replace(run.checkpoint_of_age(age - 1), run.checkpoint_of_age(age))
    for path in _stored(run)[run.keep_checkpoints :]:
        path.unlink()


def resume(run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, watch: Watch | None = None) -> int:
    """The iteration to go on with, 0 without a fitting checkpoint; loads model, optimiser and watch.

    A checkpoint of other settings is never continued: the log names what changed, and the work starts afresh. It is no
    error, because whoever edits the configuration and gives the same command again asks for just that. The unfinished
    run is set aside (`Run.aside`) until this one is finished, and continued when the change is undone; only the last
    one is kept. A damaged checkpoint gives way to an older one; WsvisError when none can be read.
    """
    checkpoint = _unfinished(run)
    if checkpoint is not None and checkpoint["digest"] != run.digest:
        aside = _set_aside(run, checkpoint)
        changes = _changes(run, checkpoint)
        message = "%s: starting afresh; the unfinished run is kept in %s, and since it was begun, there changed%s"
        log.info(message, run.name, aside, changes)
        checkpoint = None
    if checkpoint is None and run.aside(run.digest).exists():
        shutil.rmtree(run.folder, ignore_errors=True)
        os.replace(run.aside(run.digest), run.folder)
        log.info("%s: taking up the run of the same settings that had been set aside", run.name)
        checkpoint = _unfinished(run)
    if checkpoint is None:
        return 0
    start = _load(checkpoint, model, optimizer, watch)
    log.info("%s: resuming at iteration %d", run.name, start)
    return start


def load_newest(run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, watch: Watch | None = None) -> int:
    """Load the checkpoint that another process has found to fit; the iteration to go on with."""
    return _load(load_tensors(run.checkpoint_path), model, optimizer, watch)


def remove_unfinished(run: Run) -> None:
    """Remove the side folder and the runs of other settings that were set aside."""
    shutil.rmtree(run.folder)
    for folder in run.folder.parent.glob(run.aside("*").name):
        shutil.rmtree(folder)


def _unfinished(run: Run) -> dict[str, Any] | None:
    """The newest readable checkpoint of the side folder, if it can be continued at all."""
    found = _stored(run)
    # A kill while `finish` removes the folder may have taken the records first; the run's output would lack them.
    if not found or not run.records_path.exists():
        shutil.rmtree(run.folder, ignore_errors=True)
        return None
    return _newest_readable(run, found)


def _set_aside(run: Run, checkpoint: dict[str, Any]) -> Path:
    """Move the side folder away, in place of what was moved away before unless that is of the settings at hand."""
    aside = run.aside(checkpoint["digest"])
    for folder in run.folder.parent.glob(run.aside("*").name):
        if folder != run.aside(run.digest):
            shutil.rmtree(folder)
    os.replace(run.folder, aside)
    return aside


def _load(checkpoint: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, watch: Watch | None) -> int:
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    if watch is not None and "watch" in checkpoint:
        watch.load_state_dict(checkpoint["watch"])
    return int(checkpoint["iteration"])


def _plain_settings(run: Run) -> dict[str, Any]:
    """The settings as JSON holds them: no class that a safe load would refuse."""
    return json.loads(json.dumps(run.settings))


def _changes(run: Run, checkpoint: dict[str, Any]) -> str:
    """One line for each of the first settings and inputs that differ; a checkpoint of an earlier version has none."""
    if "settings" not in checkpoint:
        return " settings or inputs that it does not name"
    lines = setting_differences(checkpoint["settings"], _plain_settings(run))
    more = [f"and {len(lines) - LISTED_DIFFERENCES} more"] if len(lines) > LISTED_DIFFERENCES else []
    return "".join(f"\n  {line}" for line in [*lines[:LISTED_DIFFERENCES], *more])


def _stored(run: Run) -> list[Path]:
    """The checkpoints there are, newest first; more than are to be kept when an earlier start kept more."""
    older = sorted(run.folder.glob("checkpoint-*.pt"), key=lambda path: int(path.stem.removeprefix("checkpoint-")))
    return [path for path in [run.checkpoint_path, *older] if path.exists()]


def _newest_readable(run: Run, found: list[Path]) -> dict[str, Any]:
    """The first of the files that can be read; it and the older ones take the places of the damaged ones."""
    for number, path in enumerate(found):
        try:
            checkpoint = load_tensors(path)
        except WsvisError as error:
            log.warning("%s: %s", run.name, error)
            continue
        if number > 0:
            log.warning("%s: going back to %s in place of the damaged checkpoint", run.name, path)
            for age, good in enumerate(found[number:]):
                os.replace(good, run.checkpoint_of_age(age))
        return checkpoint
    names = ", ".join(path.name for path in found)
    raise WsvisError(
        f"{run.name}: no checkpoint in {run.folder} can be read ({names}); "
        f"look at that disk, then delete the folder to start afresh"
    )
