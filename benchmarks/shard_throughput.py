"""Shards per hour with two workers against one: python -m benchmarks.shard_throughput FOLDER (Linux, about 20 minutes).

Real Snakemake runs of flow extraction and pseudo-labels over four equal shards of generated videos like the demo's,
with `--cores 1` and `--cores 2` in turn, one thread per job. The networks are trained for a few steps only: how long
a frame takes does not depend on what they have learnt. FOLDER must not exist.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import yaml

ROOT = Path(__file__).resolve().parents[1]
SHARDS, REPEATS = 4, 1
DATASET = "results/workers/dataset/videos.json"
FLOW = [f"results/workers/flow/dis/shard-train-{n:03d}.h5" for n in range(SHARDS)]
PSEUDO_LABELS = [f"results/workers/flowirn/pseudo_labels/shard-train-{n:03d}.h5" for n in range(SHARDS)]
BEFORE_PSEUDO_LABELS = ["results/workers/flowirn/weights.pt"]


@dataclass(frozen=True)
class Measured:
    """One run over all shards: seconds of the command, and of every job its seconds after the imports and its CPU."""

    wall: float
    work: list[float]
    cpu: list[float]


def main(folder: Path) -> None:
    """Print a Markdown table."""
    folder.mkdir(parents=True)
    _write_config(folder)
    _snakemake(folder, 2, [DATASET])
    print("| stage | whole command, s: 1, 2 workers | ratio | work, s per shard: 1, 2 at a time | ratio | CPU, s |")
    print("|---|---|---|---|---|---|")
    _print_row(folder, "extract_flow", FLOW, "extract_flow/dis")
    _snakemake(folder, 2, BEFORE_PSEUDO_LABELS)
    _print_row(folder, "make_pseudo_labels", PSEUDO_LABELS, "make_pseudo_labels/flowirn")


def _write_config(folder: Path) -> None:
    block = yaml.safe_load((ROOT / "config.yaml").read_text())["datasets"]["demo"]
    block |= {
        "root": "data/workers",
        "synthetic": {"num_videos": 80, "frames_per_video": 24},
        "split": {"mode": "all"},
        "shards": {"train": SHARDS, "val": 1},
        "cam": {**block["cam"], "epochs": 0.2},
        "flowirn": {**block["flowirn"], "epochs": 0.2},
    }
    (folder / "workers.yaml").write_text(yaml.safe_dump({"datasets": {"workers": block}}))


def _print_row(folder: Path, stage: str, targets: list[str], job: str) -> None:
    runs = {workers: [] for workers in (1, 2)}
    for _ in range(REPEATS):
        for workers, measured in runs.items():
            measured.append(_measure(folder, workers, targets, job))
    wall = {workers: median(run.wall for run in measured) for workers, measured in runs.items()}
    work = {workers: median(sum(run.work) / SHARDS for run in measured) for workers, measured in runs.items()}
    cpu = {workers: median(sum(run.cpu) / SHARDS for run in measured) for workers, measured in runs.items()}
    print(
        f"| {stage} | {wall[1]:.1f}, {wall[2]:.1f} | {wall[1] / wall[2]:.2f} | {work[1]:.1f}, {work[2]:.1f} | "
        f"{2 * work[1] / work[2]:.2f} | {cpu[1]:.1f}, {cpu[2]:.1f} |",
        flush=True,
    )


def _measure(folder: Path, workers: int, targets: list[str], job: str) -> Measured:
    for target in targets:
        (folder / target).unlink(missing_ok=True)
    began = time.monotonic()
    _snakemake(folder, workers, targets)
    wall = time.monotonic() - began
    names = [Path(target).stem.removeprefix("shard-") for target in targets]
    logs = [(folder / "logs/workers" / job / f"{name}.log").read_text() for name in names]
    tables = [(folder / "logs/workers/benchmarks" / job / f"{name}.tsv").read_text() for name in names]
    return Measured(wall, [_seconds_of_work(log) for log in logs], [_cpu_seconds(table) for table in tables])


def _seconds_of_work(log: str) -> float:
    found = re.search(r" done in ([\d.]+) s$", log, re.MULTILINE)
    if found is None:
        raise SystemExit(f"the log of a job has no last line:\n{log}")
    return float(found[1])


def _cpu_seconds(table: str) -> float:
    header, values = (line.split("\t") for line in table.splitlines()[:2])
    return float(values[header.index("cpu_time")])


def _snakemake(folder: Path, workers: int, targets: list[str]) -> None:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--configfile", str(folder / "workers.yaml"), "--directory", str(folder)]
    command += ["--cores", str(workers), "--resources", f"gpu={workers}"]
    command += ["--set-threads", *(f"{rule}=1" for rule in ("make_label_maps", "make_pseudo_labels"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WSVIS_DEVICE": "cpu"}
    done = subprocess.run(
        [*command, "--", *targets], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
