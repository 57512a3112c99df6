"""What Snakemake would do on a set of the size of YouTube-VIS 2019, by dry-runs; nothing is computed."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
NAME = "rehearsal"
TARGETS = (f"results/{NAME}_vis.json", f"results/{NAME}_report.html")
# What a user might change after a run.
EDITS: dict[str, dict[str, Any]] = {
    "evaluation.bootstrap_resamples": {"evaluation": {"bootstrap_resamples": 500}},
    "tracking.max_tracks": {"tracking": {"max_tracks": 10}},
    "prediction.score_threshold": {"prediction": {"score_threshold": 0.1}},
    "maskconsist.lr": {"maskconsist": {"lr": 0.001}},
    "pseudo_labels.exp_times": {"pseudo_labels": {"exp_times": 7}},
    "flow.max_index_gap": {"flow": {"max_index_gap": 5}},
}


@dataclass(frozen=True)
class DryRun:
    """Wall and CPU seconds of a command, and its jobs per rule."""

    seconds: float
    cpu: float
    jobs: dict[str, int]
    screen: str


def ytvis_block() -> dict[str, Any]:
    """The `ytvis` block of config.yaml, with this set's place."""
    block = yaml.safe_load((ROOT / "config.yaml").read_text())["datasets"]["ytvis"]
    return {**block, "root": f"data/{NAME}"}


def snakemake(folder: Path, *options: str, edit: Mapping[str, Any] | None = None) -> DryRun:
    """Run Snakemake on the set in `folder`; edit: sections of the data set's block with other values."""
    config = folder / "rehearsal.yaml"
    config.write_text(yaml.safe_dump({"datasets": {NAME: {**ytvis_block(), **(edit or {})}}}))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", str(config)]
    command += ["--directory", str(folder), "--cores", "2", *options, "--", *TARGETS]
    began, cpu = time.monotonic(), _children_cpu()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    seconds, cpu = time.monotonic() - began, _children_cpu() - cpu
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")
    return DryRun(seconds, cpu, jobs_of(done.stdout), done.stdout)


def pretend_done(folder: Path) -> None:
    """Leave an empty file for every output of the whole pipeline and let Snakemake note that it was made as set up."""
    rows = snakemake(folder, "--summary").screen.splitlines()
    first = next(n for n, row in enumerate(rows) if row.startswith("output_file\t"))
    for row in rows[first + 1 :]:
        if "\t" in row:
            path = folder / row.split("\t")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    snakemake(folder, "--touch", "--forceall")


def jobs_of(screen: str) -> dict[str, int]:
    """Jobs per rule of the table that Snakemake prints first; {} when there is nothing to do."""
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total ", screen, re.MULTILINE | re.DOTALL)
    rows = [line.split() for line in table[1].splitlines()] if table else []
    return {rule: int(count) for rule, count in rows}


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
