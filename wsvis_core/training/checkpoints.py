"""Checkpoints of a run: written whole or not at all, the last few kept, and continued only by the same work."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import atomic_path, load_tensors
from wsvis_core.training.differences import setting_differences
from wsvis_core.training.run import Run

log = logging.getLogger(__name__)
LISTED_DIFFERENCES = 20


def save_checkpoint(run: Run, iteration: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Weights, optimiser and the number of finished steps; random state follows from the seed and that number.

    The older checkpoints move on by one only when the new one is written, so that a full disk costs none of them.
    """
    work = {"iteration": iteration, "digest": run.digest, "settings": _plain_settings(run)}
    with atomic_path(run.checkpoint_path) as temporary:
        torch.save({**work, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, temporary)
        for age in range(run.keep_checkpoints - 1, 0, -1):
            if run.checkpoint_of_age(age - 1).exists():
                os.replace(run.checkpoint_of_age(age - 1), run.checkpoint_of_age(age))
    for path in _stored(run)[run.keep_checkpoints :]:
        path.unlink()


def resume(run: Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """The iteration to go on with, 0 without a fitting checkpoint; loads model and optimiser.

    What other settings have left is removed. A damaged checkpoint gives way to an older one; WsvisError when none can
    be read.
    """
    found = _stored(run)
    # A kill while `finish` removes the folder may have taken the records first; the run's output would lack them.
    if not found or not run.records_path.exists():
        shutil.rmtree(run.folder, ignore_errors=True)
        return 0
    checkpoint = _newest_readable(run, found)
    if checkpoint["digest"] != run.digest:
        changes = _changes(run, checkpoint)
        log.info("%s: starting afresh; since %s was written, there changed%s", run.name, run.checkpoint_path, changes)
        shutil.rmtree(run.folder)
        return 0
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    start = int(checkpoint["iteration"])
    log.info("%s: resuming at iteration %d", run.name, start)
    return start


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
