"""How a training run is done: where its files are, what its result depends on, what it computes with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wsvis_core.storage.files import settings_digest
from wsvis_core.training.team import ALONE, Team


@dataclass(frozen=True)
class Run:
    """How a training run is done; everything but `settings` and `seed` leaves the result unchanged.

    folder: side folder of checkpoints and records. settings: what the result depends on; a checkpoint made with other
    settings is not continued. workers: data loading processes. checkpoint_seconds: the longest time between checkpoints
    (`pace`), 0 for one after every step. keep_checkpoints: how many of the newest are kept, at least 1. event_files:
    also write TensorBoard's files. processes: how many may share the work (`processes.train_together`); team: which of
    them this one is. The result is the same for any number up to the order of sums, so a run may go on with another
    number than it began with. clock: seconds that never go back, from any origin; it times the checkpoints.
    """

    name: str
    folder: Path
    settings: dict[str, Any]
    seed: int
    device: torch.device
    workers: int = 0
    checkpoint_seconds: float = 60.0
    keep_checkpoints: int = 1
    event_files: bool = False
    processes: int = 1
    team: Team = ALONE
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints is {self.keep_checkpoints}; a run needs at least one")

    @property
    def checkpoint_path(self) -> Path:
        """The newest checkpoint; the ones before are checkpoint-1.pt (the last but one), checkpoint-2.pt …"""
        return self.checkpoint_of_age(0)

    def checkpoint_of_age(self, age: int) -> Path:
        """The checkpoint that `age` newer ones have followed."""
        return self.folder / (f"checkpoint-{age}.pt" if age else "checkpoint.pt")

    def aside(self, digest: str) -> Path:
        """Where an unfinished run of other settings is kept until this one is finished."""
        return self.folder.with_name(f"{self.folder.name}.old-{digest}")

    @property
    def events_folder(self) -> Path:
        """TensorBoard's files: beside the side folder, since they are looked at after the run too."""
        return self.folder.with_name("tensorboard")

    @property
    def records_path(self) -> Path:
        return self.folder / "records.jsonl"

    @property
    def digest(self) -> str:
        return settings_digest(self.settings)
