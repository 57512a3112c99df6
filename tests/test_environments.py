"""What the rules import is in the conda environment too."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"torch": "pytorch", "opencv-python-headless": "opencv", "matplotlib": "matplotlib-base"}
# Snakemake starts the jobs from its own environment; videos are read by commands, not by rules.
NOT_IN_JOBS = {"snakemake", "snakemake-executor-plugin-slurm", "av"}


def bare(requirement: str) -> str:
    return re.split(r"[<>=~\s]", requirement, maxsplit=1)[0]


def test_the_conda_environment_has_what_jobs_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {bare(line) for line in project["dependencies"]} - NOT_IN_JOBS
    written = yaml.safe_load((ROOT / "envs/wsvis.yaml").read_text(encoding="utf-8"))["dependencies"]
    assert {CONDA_NAMES.get(name, name) for name in needed} <= {bare(line) for line in written}
