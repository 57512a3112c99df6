"""Rates for `wsvis plan`: the pipeline on a few generated frames of full size at the paper's settings, one thread.

    python -m benchmarks.reference_rates WEIGHTS.pt FOLDER     (a torchvision ResNet-50 state dict; some 15 minutes)

prints the table of `wsvis_core/planning/reference.py`. Epochs and iterations are few; a sample costs the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from wsvis_core.check import load_config
from wsvis_core.planning.jobs import planned_jobs
from wsvis_core.planning.rates import spent_so_far
from wsvis_core.planning.size import data_size
from wsvis_core.planning.work import UNITS, amount, megapixels

ROOT = Path(__file__).resolve().parents[1]
NAME = "reference"
TARGETS = (f"results/{NAME}_vis.json", f"results/{NAME}_report.html", f"results/{NAME}/tables/table5.csv")


def main(weights: Path, folder: Path) -> None:
    """Run the pipeline in a folder, or what of it is not there yet, and print the rates."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reference.yaml").write_text(yaml.safe_dump(settings(weights.resolve())))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    command += ["--configfile", "reference.yaml", "--", *TARGETS]
    subprocess.run(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    os.chdir(folder)
    print_rates()


def settings(weights: Path) -> dict[str, Any]:
    """The defaults on eight videos of two frames, with as little training as the stages allow."""
    trunk = {"backbone_weights": str(weights)}
    return {
        "pipeline": {"rounds": 0, "compare_labellers": [], "segmenter": "maskconsist"},
        "datasets": {
            NAME: {
                "kind": "synthetic",
                "root": "data/reference",
                "split": {"mode": "sampled", "val_per_category": 1},
                "shards": {"train": 1, "val": 1},
                "synthetic": {"num_videos": 8, "frames_per_video": 2, "height": 720, "width": 1280},
                "cam": {**trunk, "epochs": 2, "lr": 0.01},
                "flowirn": {**trunk, "epochs": 2},
                "maskconsist": {**trunk, "iterations": 10, "warmup_iterations": 2, "start_iteration": 4},
                "report": {"transfer_pairs": 4},
                "tables": {"table5": ["maskconsist"]},
            }
        },
    }


def print_rates() -> None:
    """The rates of the run in the working directory, start-up of a job (imports) taken off."""
    config = load_config([ROOT / "config.yaml", Path("reference.yaml")])
    size = data_size(config, NAME, Path("results"))
    jobs = planned_jobs(NAME, TARGETS, [Path("reference.yaml")], snakefile=ROOT / "Snakefile")
    start = spent_so_far(Path("logs") / NAME, "publish_tracks", NAME, config, size)
    for stage in UNITS:
        own = [job for job in jobs if job.work.stage == stage]
        spent = spent_so_far(Path("logs") / NAME, stage, NAME, config, size)
        if not own or spent is None:
            continue
        scale = megapixels(own[0].work, config, size)
        units = sum(amount(job.work, config, size) for job in own)
        seconds = max(spent.cpu_seconds - len(own) * (start.cpu_seconds if start else 0.0), 0.0)
        stored = sum(path.stat().st_size for job in own for path in job.outputs)
        # Weights and pages are as large whatever went into them.
        per_job = UNITS[stage] != "frames"
        size_of = f"job_bytes={stored / len(own):.3g}" if per_job else f"{stored / units / scale:.3g}"
        print(f'    "{stage}": Reference({seconds / units / scale:.3g}, {size_of}),')


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
