"""Records of a run: a line of scalars every so many steps, for the report and, on request, for TensorBoard."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from wsvis_core.storage.files import atomic_path
from wsvis_core.storage.space import explain_full_disk
from wsvis_core.training.run import Run

log = logging.getLogger(__name__)
RECORDS_PER_RUN = 200


def is_recorded(iteration: int, iterations: int) -> bool:
    """About RECORDS_PER_RUN iterations of a run, and always the last."""
    return iteration % max(iterations // RECORDS_PER_RUN, 1) == 0 or iteration == iterations - 1


class Records:
    """The records of a run that begins, or goes on, at an iteration; whatever a killed attempt did after it is cut."""

    def __init__(self, run: Run, start: int) -> None:
        self._path = run.records_path
        _cut_records(self._path, start)
        self._events = _event_writer(run, start) if run.event_files else None

    def add(self, record: dict[str, float]) -> None:
        """Append one line. record: {"iteration": int, name: number, …}."""
        with explain_full_disk(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a") as stream:
                stream.write(json.dumps(record) + "\n")
        if self._events is not None:
            for name in record.keys() - {"iteration"}:
                self._events.add_scalar(name, record[name], int(record["iteration"]))

    def close(self) -> None:
        if self._events is not None:
            self._events.close()


def _cut_records(path: Path, iteration: int) -> None:
    """Keep whole records of iterations below `iteration`; a line cut short by a kill goes."""
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    kept = [line for line in whole if json.loads(line)["iteration"] < iteration]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(kept))


def _event_writer(run: Run, start: int) -> Any | None:
    """TensorBoard's writer; None, with a warning, where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning(
            "%s: WSVIS_TENSORBOARD is set but tensorboard is not installed (pip install tensorboard); "
            "training goes on without its files, %s has the same numbers",
            run.name,
            run.records_path,
        )
        return None
    if start == 0:
        shutil.rmtree(run.events_folder, ignore_errors=True)
    # What a killed attempt wrote at `start` and after is not shown.
    return SummaryWriter(str(run.events_folder), purge_step=start)
