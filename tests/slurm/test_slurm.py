"""The workflow on a real SLURM: same bytes as a local run, one GPU shared in turn, and nothing lost whatever dies."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import h5py
import pytest
import torch

from wsvis_core.storage.files import load_tensors

WEIGHTS = "results/tiny/flowirn/maskconsist/round-0/weights.pt"


def same_tensors(path: Path, other: Path) -> bool:
    ours, theirs = (load_tensors(each)["model"] for each in (path, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_cluster_makes_what_one_machine_makes(cluster, cluster_project, finished_run):
    outcome = cluster_project.run()
    assert outcome.returncode == 0, outcome.output
    ours, theirs = cluster_project.folder, finished_run.project.folder
    for name in ("results/tiny_vis.json", "results/tiny/tables/table5.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert same_tensors(ours / WEIGHTS, theirs / WEIGHTS)
    jobs = cluster.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"} and len(jobs) == sum(finished_run.outcome.jobs.values())
    one_gpu_in_turn(jobs)


def one_gpu_in_turn(jobs) -> None:
    """Jobs that claim the cluster's only GPU ran one after the other, and only those; two IRNets wanted it at once."""
    claiming = sorted((job for job in jobs if job.gpus), key=lambda job: job.began)
    assert {job.node for job in claiming} == {"g1"} and {job.node for job in jobs if not job.gpus} <= {"c1", "c2"}
    rules = [job.comment.split("_wildcards")[0] for job in claiming]
    assert rules.count("rule_train_flowirn") == 2 and all("gpu" in job.gpus for job in claiming)
    assert all(first.ended <= second.began for first, second in zip(claiming, claiming[1:], strict=False))


def test_a_group_of_small_shards_is_one_job(cluster, cluster_project, finished_run):
    shards = ["train-000", "train-001", "val-000"]
    targets = tuple(f"results/tiny/flow/dis/shard-{shard}.h5" for shard in shards)
    project = type(cluster_project)(cluster_project.folder, cluster_project.config, targets)
    before = {job.number for job in cluster.jobs()}
    outcome = project.run("--groups", "extract_flow=flow", "--group-components", "flow=3")
    assert outcome.returncode == 0, outcome.output
    ours = [job for job in cluster.jobs() if job.number not in before]
    # Generating the videos and preparing the set are jobs of their own.
    assert [job.state for job in ours] == ["COMPLETED"] * 3
    for target in targets:
        assert columns(project.folder / target) == columns(finished_run.project.folder / target)


def columns(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "shape") else {}))
    assert found
    return found


@pytest.fixture(scope="module")
def trained_classifier(finished_run, tmp_path_factory):
    """A copy of the undisturbed run without its detectors: what a disturbed training starts from."""
    copy = finished_run.project.copy(tmp_path_factory.mktemp("slurm") / "project")
    shutil.rmtree(copy.folder / "results/tiny/flowirn/maskconsist")
    return copy


@pytest.fixture
def one_training(cluster_project, trained_classifier, tmp_path):
    """A project on the cluster in which only the training of round 0 is left to do."""
    copied = trained_classifier.copy(tmp_path / "copy")
    return type(cluster_project)(copied.folder, copied.config, (WEIGHTS,))


def with_iterations(project, iterations: int):
    """The same project with a longer training."""
    block = project.config["datasets"]["tiny"]
    longer = {**block, "maskconsist": {**block["maskconsist"], "iterations": iterations}}
    return type(project)(project.folder, {"datasets": {"tiny": longer}}, project.targets)


def training_log(project) -> str:
    return (project.folder / "logs/tiny/train_maskconsist/flowirn/maskconsist/round-0.log").read_text()


def wait_for(path: Path, seconds: float = 300, newer_than: float = 0.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists() or path.stat().st_mtime < newer_than:
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def wait_for_checkpoint(project) -> None:
    wait_for((project.folder / WEIGHTS).parent / "training/checkpoint.pt")


def test_a_cancelled_job_is_tried_again_and_goes_on(cluster, one_training, finished_run, tmp_path):
    run = one_training.start(tmp_path / "screen")
    wait_for_checkpoint(one_training)
    job = cluster.wait_for("train_maskconsist", "RUNNING")
    subprocess.run(["scancel", job.number], check=True)
    assert run.wait(600) == 0, (tmp_path / "screen").read_text()
    screen = (tmp_path / "screen").read_text()
    assert f"'{job.number}'" in screen and "CANCELLED" in screen and "Trying to restart job" in screen
    assert "resuming at iteration" in training_log(one_training)
    assert same_tensors(one_training.folder / WEIGHTS, finished_run.project.folder / WEIGHTS)


def test_a_job_out_of_time_goes_on_where_it_was(cluster, one_training, tmp_path):
    project = with_iterations(one_training, 100_000)
    # On the command line the option replaces the profile's whole list.
    limits = ["train_maskconsist:slurm_partition=gpu", "train_maskconsist:runtime=1"]
    run = project.start(tmp_path / "screen", "--set-resources", *limits, "--retries", "1")
    assert run.wait(600) == 1
    screen = (tmp_path / "screen").read_text()
    assert "TIMEOUT" in screen and "Trying to restart job" in screen
    assert "resuming at iteration" in training_log(project)


def test_a_job_on_a_dying_node_goes_on_on_another(cluster, one_training, tmp_path):
    project = with_iterations(one_training, 400)
    # A CPU will do here: there is one node with a GPU, and two without.
    on_cpu = ["train_maskconsist:slurm_partition=cpu", "train_maskconsist:gpu=0"]
    run = project.start(tmp_path / "screen", "--set-resources", *on_cpu)
    job = cluster.wait_for("train_maskconsist", "RUNNING")
    wait_for_checkpoint(project)
    cluster.kill_node(job.node)
    try:
        assert run.wait(900) == 0, (tmp_path / "screen").read_text()
    finally:
        cluster.repair()
    screen = (tmp_path / "screen").read_text()
    assert f"'{job.number}'" in screen and "NODE_FAIL" in screen and "Trying to restart job" in screen
    assert "resuming at iteration" in training_log(project) and (project.folder / WEIGHTS).exists()
    assert cluster.wait_for("train_maskconsist", "COMPLETED").node != job.node


def test_the_killed_workflow_itself_goes_on_with_the_same_command(cluster, one_training, finished_run, tmp_path):
    run = one_training.start(tmp_path / "screen")
    job = cluster.wait_for("train_maskconsist", "RUNNING")
    run.kill()
    run.wait()
    # Its job is not Snakemake's child: the next run must neither write beside it nor lose it.
    outcome = one_training.run()
    assert outcome.returncode == 0, outcome.output
    assert same_tensors(one_training.folder / WEIGHTS, finished_run.project.folder / WEIGHTS)
    assert job.number in {other.number for other in cluster.jobs()}
