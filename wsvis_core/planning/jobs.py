"""The jobs that Snakemake would run, asked of Snakemake itself: only it knows what an edit of a setting reruns."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsvis_core.errors import WsvisError
from wsvis_core.planning.work import UNITS, Work

_RESULT = re.compile(r"results/([^/]+)/(.+)")


@dataclass(frozen=True)
class PlannedJob:
    """todo: it would run now, because its result is missing or what made it has changed."""

    work: Work
    todo: bool
    outputs: tuple[Path, ...]


def planned_jobs(
    dataset: str, targets: Sequence[str], config_files: Sequence[Path], *, snakefile: Path = Path("Snakefile")
) -> list[PlannedJob]:
    """Every job that the targets need, done or not. Snakemake runs in the working directory, for some seconds."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--detailed-summary", "--nolock"]
    if config_files:
        command += ["--configfile", *map(str, config_files)]
    done = subprocess.run([*command, "--", *targets], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise WsvisError(f"Snakemake cannot plan {' '.join(targets)}:\n{_own_words(done.stderr)}")
    return read_summary(done.stdout, dataset)


def read_summary(text: str, dataset: str) -> list[PlannedJob]:
    """The jobs of Snakemake's table of outputs (`--detailed-summary`); a job has one row per output.

    dataset: whose jobs those are whose path names no data set.
    """
    found: dict[tuple[str, str], tuple[Work, bool, list[Path]]] = {}
    for row in csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE):
        stage, path = row["rule"], row["output_file"]
        if stage not in UNITS:
            continue
        match = _RESULT.match(path)
        work = Work.of_path(stage, match[1] if match else dataset, match[2] if match else "")
        # Shards are a job each; what else lies in one folder, or has one name with several endings, is of one job.
        name = path if work.split else str(Path(path).parent)
        if stage == "make_table":
            name = str(Path(path).with_suffix(""))
        _, todo, outputs = found.get((stage, name), (work, False, []))
        todo = todo or row["plan"] == "update pending"
        found[stage, name] = work, todo, [*outputs, Path(path)]
    return [PlannedJob(work, todo, tuple(outputs)) for work, todo, outputs in found.values()]


def _own_words(stderr: str) -> str:
    """The end of what Snakemake said, where the reason stands."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return "\n".join(lines[-15:])
