"""Runs made of events."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wsvis_core.monitor.run import Run

LOGS = "logs/demo"


def planned(number: int, stage: str, name: str = "", **more: Any) -> dict[str, Any]:
    """A job of a plan."""
    path = "/".join([stage, *name.split()])
    entry = {"id": number, "stage": stage, "dataset": "demo", "name": name, "state": "waiting"}
    files = {"log": f"{LOGS}/{path}.log", "benchmark": f"{LOGS}/benchmarks/{path}.tsv"}
    return {**entry, **files, "threads": 1, "gpu": 0, "needs": [], **more}


PLAN = [
    planned(0, "prepare_dataset", state="before"),
    planned(1, "extract_flow", "dis train-000"),
    planned(2, "extract_flow", "dis val-000"),
    planned(3, "train_cam", gpu=1),
    planned(4, "predict_masks", "val-000", needs=[1, 2, 3]),
    planned(5, "make_report", needs=[4]),
]


def first_event(jobs: list[dict[str, Any]] = PLAN, **more: Any) -> dict[str, Any]:
    """The event that begins a run at 1000 s, of a process that is not there."""
    event = {"event": "run", "time": 1000.0, "host": socket.gethostname(), "pid": 2**22 + 1, "process_began": ""}
    return {**event, "cores": 2, "gpus": 1, "remote": False, "targets": ["results/demo_vis.json"], "jobs": jobs, **more}


def run_of(*events: tuple[str, float, int], **more: Any) -> Run:
    """A run after (what, seconds after its begin, job) happened."""
    run = Run.begin(first_event(**more))
    for what, seconds, job in events:
        run.apply({"event": what, "time": 1000.0 + seconds, "job": job})
    return run


@pytest.fixture(name="planned")
def planned_fixture() -> Callable[..., dict[str, Any]]:
    return planned


@pytest.fixture(name="run_of")
def run_of_fixture() -> Callable[..., Run]:
    return run_of


@pytest.fixture
def write_record(tmp_path: Path) -> Callable[..., Path]:
    """Writes the record of a run into `tmp_path`, as events of (what, seconds, job or outcome)."""

    def write(*events: tuple[str, float, Any], name: str = "run-a-1", **more: Any) -> Path:
        path = tmp_path / f".snakemake/wsvis/{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [first_event(**more)]
        for what, seconds, value in events:
            key = "outcome" if what == "end" else "job"
            lines.append({"event": what, "time": lines[0]["time"] + seconds, key: value})
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        os.utime(path, (lines[-1]["time"], lines[-1]["time"]))
        return path

    return write
