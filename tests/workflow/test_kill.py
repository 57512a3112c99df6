"""SIGKILL in the middle of every stage, then the same command: the result is that of a run nobody disturbed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from wsvis_core.storage.files import load_tensors

pytestmark = pytest.mark.workflow
ATTEMPTS = 5
SECONDS = 300


@dataclass(frozen=True)
class Stage:
    """How to see that a stage is in the middle of its work.

    log: of one of its jobs. made: files of that job when it is done. begun: a file that it has only while it works;
    stages that write their result at once have none, and are at work while their log has no last line. Files are
    named relative to results/tiny.
    """

    log: str
    made: str
    begun: str | None = None


def trainer(log: str, folder: str) -> Stage:
    """A trainer is in the middle when there is a checkpoint."""
    return Stage(log, f"{folder}/weights.pt", f"{folder}/training/checkpoint.pt")


def shard(log: str, path: str) -> Stage:
    """A shard is in the middle when some of its videos are finished."""
    return Stage(log, path, f"{path}.parts/*.h5")


FLOWIRN, SEGMENTER = "flowirn", "flowirn/maskconsist"
ROUND_0, ROUND_1 = f"{SEGMENTER}/round-0", f"{SEGMENTER}/round-1"
STAGES = {
    "generate_dataset": Stage("generate_dataset.log", "../../data/tiny/train.json"),
    "prepare_dataset": Stage("prepare_dataset.log", "dataset/*.json"),
    "extract_flow": shard("extract_flow/dis/train-000.log", "flow/dis/shard-train-000.h5"),
    "train_cam": trainer("train_cam.log", "cam"),
    "extract_cam": shard("extract_cam/train-000.log", "cam/shard-train-000.h5"),
    "make_label_maps": shard("make_label_maps/flowirn/train-000.log", "flowirn/label_maps/shard-train-000.h5"),
    "train_flowirn": trainer("train_flowirn/flowirn.log", FLOWIRN),
    "make_pseudo_labels": shard("make_pseudo_labels/flowirn/train-000.log", "flowirn/pseudo_labels/shard-train-000.h5"),
    "evaluate_pseudo_labels": Stage("evaluate_pseudo_labels/flowirn.log", "flowirn/pseudo_label_metrics.json"),
    "train_maskconsist, round 0": trainer(f"train_maskconsist/{ROUND_0}.log", ROUND_0),
    "predict_masks": shard(f"predict_masks/{ROUND_0}/train-000.log", f"{ROUND_0}/predictions/shard-train-000.h5"),
    "train_maskconsist, round 1": trainer(f"train_maskconsist/{ROUND_1}.log", ROUND_1),
    "track_instances": Stage(f"track_instances/{ROUND_1}/unovost.log", f"{ROUND_1}/unovost/tracks.json"),
    "evaluate_frames": Stage(f"evaluate_frames/{ROUND_1}.log", f"{ROUND_1}/frame_metrics.json"),
    "evaluate_consistency": Stage(f"evaluate_consistency/{ROUND_1}.log", f"{ROUND_1}/consistency_metrics.json"),
    "show_transfers": Stage(f"show_transfers/{ROUND_1}.log", f"{ROUND_1}/transfers.json"),
    "make_table": Stage("make_table/table5.log", "tables/table5.csv"),
    "evaluate_video": Stage(f"evaluate_video/{ROUND_1}/unovost.log", f"{ROUND_1}/unovost/metrics.json"),
    "estimate_quality": Stage(f"estimate_quality/{ROUND_1}/unovost.log", f"{ROUND_1}/unovost/quality.json"),
    "evaluate_quality": Stage(f"evaluate_quality/{ROUND_1}/unovost.log", f"{ROUND_1}/unovost/quality_metrics.json"),
    "publish_tracks": Stage("publish_tracks.log", "../tiny_vis.json"),
    "publish_quality": Stage("publish_quality.log", "../tiny_quality.csv"),
    "make_report": Stage("make_report.log", "../tiny_report.html"),
}


class Victim:
    """A run in a process group of its own."""

    def __init__(self, project, screen: Path) -> None:
        self._screen = screen
        self._process = project.start(screen)

    @property
    def output(self) -> str:
        return self._screen.read_text()

    def ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """A signal for Snakemake and all its jobs; returns when none of them is left."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return
        self._process.wait(SECONDS)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                os.killpg(self._process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.01)
        raise TimeoutError("processes of the killed run are still there")


def kill_in(stage: Stage, project, screen: Path, number: signal.Signals = signal.SIGKILL) -> bool:
    """Start the run, kill it when the stage is at work; False when the stage was faster than the kill."""
    log, results = project.folder / "logs/tiny" / stage.log, project.folder / "results/tiny"
    for path in results.glob(stage.made):
        path.unlink()
    log.unlink(missing_ok=True)
    if stage.begun is not None:
        # Left by an earlier kill in which this stage ran beside the killed one.
        shutil.rmtree((results / stage.begun).parent, ignore_errors=True)
    victim = Victim(project, screen)
    try:
        deadline = time.monotonic() + SECONDS
        while not _is_at_work(log, results, stage):
            assert not victim.ended(), victim.output
            assert time.monotonic() < deadline, victim.output
            time.sleep(0.001)
        victim.kill(number)
    finally:
        victim.kill()
    if stage.begun is not None and any(results.glob(stage.made)):
        return False
    return "done in" not in log.read_text()


def _is_at_work(log: Path, results: Path, stage: Stage) -> bool:
    return log.exists() if stage.begun is None else any(results.glob(stage.begun))


@pytest.mark.xdist_group("workflow-kill")
def test_killed_in_every_stage_gives_the_same_result(
    tiny_project, sizes: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    project = tiny_project.changed(
        {"pipeline": {"compare_labellers": []}, "report": {**sizes["report"], "tables": ["table5"]}}
    )
    for name, stage in STAGES.items():
        for attempt in range(ATTEMPTS):
            if kill_in(stage, project, tmp_path / f"{name} {attempt}.out"):
                break
        else:
            pytest.fail(f"{name} was never in the middle of its work when it was killed, in {ATTEMPTS} attempts")
    outcome = project.run()
    assert outcome.returncode == 0, outcome.output

    # Asked for this late, so that another test process makes the undisturbed run meanwhile.
    finished_run = request.getfixturevalue("finished_run")
    killed, whole = project.folder / "results", finished_run.project.folder / "results"
    assert (killed / "tiny_vis.json").read_bytes() == (whole / "tiny_vis.json").read_bytes()
    # The undisturbed run makes labels of irn too, for its report.
    lists = [path.relative_to(whole) for path in whole.rglob("*.json") if "irn" not in path.relative_to(whole).parts]
    assert len(lists) > 8
    assert [path for path in lists if (killed / path).read_bytes() != (whole / path).read_bytes()] == []
    leftovers = [path for path in killed.rglob("*") if path.suffix in (".tmp", ".parts") or path.name == "training"]
    assert leftovers == []
    for stage in STAGES.values():
        if stage.made.endswith("weights.pt"):
            text = (project.folder / "logs/tiny" / stage.log).read_text()
            assert re.search(r"resuming at iteration [1-9]", text), text
    assert "Nothing to be done" in project.run().output


@pytest.mark.xdist_group("workflow-run")
def test_a_trainer_saves_its_work_on_sigterm(finished_run, make_project, tmp_path: Path) -> None:
    """What a cluster sends before the kill, to all processes of the job."""
    whole = finished_run.project
    copy = whole.copy(tmp_path / "copy")
    name, stage = f"results/tiny/{ROUND_1}/weights.pt", STAGES["train_maskconsist, round 1"]
    project = make_project(copy.folder, whole.config, [name])
    for attempt in range(ATTEMPTS):
        if kill_in(stage, project, tmp_path / f"{attempt}.out", signal.SIGTERM):
            break
    else:
        pytest.fail(f"the trainer was never in the middle of its work, in {ATTEMPTS} attempts")
    said = re.search(r"stopped by SIGTERM at step (\d+) of", (copy.folder / "logs/tiny" / stage.log).read_text())
    assert said is not None
    outcome = project.run()
    assert outcome.returncode == 0, outcome.output
    assert f"resuming at iteration {said[1]}\n" in (copy.folder / "logs/tiny" / stage.log).read_text()
    found, expected = (load_tensors(folder / name)["model"] for folder in (copy.folder, whole.folder))
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], value) for key, value in expected.items())


@pytest.mark.xdist_group("workflow-run")
def test_second_run_beside_a_living_one_is_refused(tiny_project, tmp_path: Path) -> None:
    victim = Victim(tiny_project, tmp_path / "first.out")
    try:
        locks = tiny_project.folder / ".snakemake/locks"
        deadline = time.monotonic() + SECONDS
        while not list(locks.glob("*.lock")):
            assert not victim.ended() and time.monotonic() < deadline, victim.output
            time.sleep(0.01)
        outcome = tiny_project.run()
        assert not victim.ended()
    finally:
        victim.kill()
    assert outcome.returncode != 0
    assert "Directory cannot be locked" in outcome.output
