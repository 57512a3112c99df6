"""Real Snakemake runs on a tiny generated data set. One undisturbed run serves all tests and all test processes."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("results/tiny_vis.json", "results/tiny_report.html")
SECONDS = 900
# With another seed the classifier may learn nothing in its few steps: no pseudo-labels, nothing to train on.
VIDEOS = {"num_videos": 8, "frames_per_video": 4, "height": 48, "width": 80, "num_classes": 2, "seed": 4}
# Every stage does its real work on networks and frames so small that starting a job takes longer than the job.
SIZES = {
    "stage1": {"long_side": 80},
    "flow": {"preset": "fast", "store_short_side": 24},
    "cam": {
        "backbone": "resnet_tiny",
        "backbone_weights": "none",
        "output_stride": 8,
        "frozen_stages": 0,
        "epochs": 2,
        "batch_size": 4,
        "optimizer": "adamw",
        "lr": 0.002,
        "head_lr_multiplier": 1,
        "resize_long": [72, 88],
        "crop": 64,
        "scales": [1.0, 0.75],
    },
    "label_maps": {"fg_threshold": 0.4, "bg_threshold": 0.15, "crf_iterations": 2},
    "flowirn": {
        "backbone": "resnet_tiny",
        "backbone_weights": "cam",
        "output_stride": 8,
        "branch_width": 0.25,
        "radius": 4,
        "epochs": 2,
        "batch_size": 4,
        "crop": 64,
    },
    "pseudo_labels": {"centroid_iterations": 20, "exp_times": 4},
    "maskconsist": {
        "backbone": "resnet_tiny",
        "backbone_weights": "cam",
        "trainable_stages": 5,
        "iterations": 12,
        "optimizer": "adamw",
        "lr": 0.0006,
        "warmup_iterations": 4,
        "grad_clip": 5,
        "short_side": 48,
        "fpn_channels": 16,
        "representation_size": 32,
        "box_layers": 1,
        "mask_channels": 16,
        "mask_layers": 1,
        "anchor_sizes": [8, 16, 32, 48, 64],
        "roi_canonical_size": 56,
        "rpn_batch": 32,
        "roi_batch": 16,
        "pre_nms": [50, 50],
        "post_nms": [20, 20],
        "max_detections": 5,
    },
    "prediction": {"short_side": 48, "max_detections": 5},
    "self_training": {"score_threshold": 0.1},
    "report": {"videos": 1, "frames_per_video": 2},
}
TINY = {
    "kind": "synthetic",
    "root": "data/tiny",
    "split": {"mode": "sampled", "val_per_category": 1},
    "shards": {"train": 2, "val": 1},
    "synthetic": {**VIDEOS, "one_frame_video": 2},
    "pipeline": {"rounds": 1, "compare_labellers": ["irn"]},
    **SIZES,
    "report": {**SIZES["report"], "tables": ["table4", "table5"]},
    "tables": {"table4": ["irn", "flowirn"], "table5": ["maskconsist", "maskconsist@1"]},
}


@dataclass(frozen=True)
class Outcome:
    """What a Snakemake command said: its exit code, and stdout and stderr together."""

    returncode: int
    output: str

    @property
    def jobs(self) -> dict[str, int]:
        """Jobs per rule of the first table of jobs, {} when there was nothing to do."""
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total ", self.output, re.MULTILINE | re.DOTALL)
        rows = [line.split() for line in table[1].splitlines()] if table else []
        return {rule: int(count) for rule, count in rows}

    @property
    def messages(self) -> set[str]:
        """The message of every job that ran, or would run."""
        return set(re.findall(r"^Job \d+: (.+)$", self.output, re.MULTILINE))


@dataclass(frozen=True)
class Project:
    """A working directory for Snakemake with a configuration merged over the repository's config.yaml."""

    folder: Path
    config: Mapping[str, Any]
    targets: Sequence[str] = TARGETS
    seconds: float = SECONDS

    def command(self, *options: str, edit: Mapping[str, Any] | None = None) -> list[str]:
        """The command of a run, always the same but for `options`; `edit` is one more --configfile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files = []
        for name, content in (("tiny.yaml", self.config), ("edit.yaml", edit)):
            if content is not None:
                (self.folder / name).write_text(yaml.safe_dump(dict(content)))
                files.append(str(self.folder / name))
        trainers = [f"{rule}=1" for rule in ("train_cam", "train_flowirn", "train_maskconsist")]
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", *files]
        command += ["--directory", str(self.folder), "--cores", "2", "--resources", "gpu=2"]
        return [*command, "--set-threads", *trainers, *options, "--", *self.targets]

    def environment(self) -> dict[str, str]:
        foreign = ("SNAKEMAKE_", "COV_", "COVERAGE_", "PYTEST_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        settings = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "WSVIS_DEVICE": "cpu"}
        # A checkpoint after every step, so that a kill finds one.
        return {**kept, **settings, "WSVIS_CHECKPOINT_SECONDS": "0"}

    def run(self, *options: str, edit: Mapping[str, Any] | None = None) -> Outcome:
        """Run the command to its end."""
        done = subprocess.run(
            self.command(*options, edit=edit),
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self.seconds,
            check=False,
        )
        return Outcome(done.returncode, done.stdout)

    def start(self, screen: Path, *options: str) -> subprocess.Popen:
        """Start the command as the leader of a process group of its own; its output goes to the file `screen`."""
        with open(screen, "w") as stream:
            return subprocess.Popen(
                self.command(*options),
                env=self.environment(),
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def changed(self, settings: Mapping[str, Any]) -> Project:
        """The same folder with other settings of the tiny data set."""
        block = {**self.config["datasets"]["tiny"], **settings}
        return Project(self.folder, {"datasets": {"tiny": block}}, self.targets)

    def copy(self, folder: Path) -> Project:
        """The same project, with everything it has made, in another folder; times of files are kept."""
        shutil.copytree(self.folder, folder)
        return Project(folder, self.config, self.targets)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def sizes() -> dict[str, Any]:
    """Settings of a data set's block that make every stage take a moment."""
    return SIZES


@pytest.fixture(scope="session")
def videos() -> dict[str, Any]:
    """Generator settings of the tiny data set."""
    return VIDEOS


@pytest.fixture
def make_project() -> type[Project]:
    return Project


@pytest.fixture
def tiny_project(tmp_path: Path) -> Project:
    """The tiny data set's project in an empty folder."""
    return Project(tmp_path / "project", {"datasets": {"tiny": TINY}})


@dataclass(frozen=True)
class FinishedRun:
    """A project after one undisturbed run, and what that run said. Only to be read and copied."""

    project: Project
    outcome: Outcome


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """One undisturbed run; the first test process that asks for it makes it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    project = Project(shared / "undisturbed_run", {"datasets": {"tiny": TINY}})
    code, screen = shared / "undisturbed_run.code", shared / "undisturbed_run.out"
    with open(shared / "undisturbed_run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not code.exists():
            outcome = project.run()
            screen.write_text(outcome.output)
            code.write_text(str(outcome.returncode))
    outcome = Outcome(int(code.read_text()), screen.read_text())
    assert outcome.returncode == 0, outcome.output
    return FinishedRun(project, outcome)
