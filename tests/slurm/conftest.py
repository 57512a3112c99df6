"""A throw-away SLURM cluster on this machine, for the tests that need a real one; they skip where it cannot be had."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workflow.conftest import TINY, Project, finished_run  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests/slurm/local-slurm.sh"
CANNOT_BE_HAD = 77


def why_not() -> str | None:
    """What stands against a local SLURM here; None when nothing does."""
    if os.geteuid() != 0:
        return "a local SLURM needs root"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_not()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@dataclass(frozen=True)
class SlurmJob:
    """A job as SLURM remembers it: its number, comment (rule and wildcards), state, node, and times in seconds."""

    number: str
    comment: str
    state: str
    node: str
    began: float
    ended: float
    gpus: str


@dataclass(frozen=True)
class Cluster:
    """The running cluster. folder: the script's state folder."""

    folder: Path

    def jobs(self) -> list[SlurmJob]:
        """All jobs since the cluster came up, oldest first."""
        text = subprocess.run(["scontrol", "show", "job", "-o"], capture_output=True, text=True, check=True).stdout
        return [_job(line) for line in text.splitlines() if line.startswith("JobId=")]

    def wait_for(self, rule: str, state: str, seconds: float = 300) -> SlurmJob:
        """The newest job of a rule, once it is in a state."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = [job for job in self.jobs() if job.comment.startswith(f"rule_{rule}_") and job.state == state]
            if found:
                return found[-1]
            time.sleep(0.5)
        raise AssertionError(f"no job of {rule} came to {state} within {seconds} s: {self.jobs()}")

    def kill_node(self, node: str) -> None:
        """What a power cut does to a node, and to all job steps: its daemon and their processes are gone at once.

        Steps of other nodes die too, since all are processes of this machine: only while one job runs.
        """
        pid = int((self.folder / "run" / f"slurmd-{node}.pid").read_text())
        for victim in [pid, *_processes_of_steps(self.folder)]:
            subprocess.run(["kill", "-KILL", str(victim)], check=False, stderr=subprocess.DEVNULL)

    def repair(self) -> None:
        """Bring dead daemons back."""
        _script("up")


def _job(line: str) -> SlurmJob:
    fields = dict(re.findall(r"(\w+)=(\S*)", line))

    def seconds(name: str) -> float:
        try:
            return time.mktime(time.strptime(fields[name], "%Y-%m-%dT%H:%M:%S"))
        except ValueError:
            return float("nan")

    return SlurmJob(
        fields["JobId"],
        fields.get("Comment", ""),
        fields["JobState"],
        fields.get("NodeList", ""),
        seconds("StartTime"),
        seconds("EndTime"),
        fields.get("TresPerJob", fields.get("TresPerNode", "")),
    )


def _processes_of_steps(folder: Path) -> list[int]:
    """Job step daemons that hold a file of the cluster's folder open, and all that descends from them."""
    parents: dict[int, int] = {}
    daemons = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            stat = (process / "stat").read_text()
            name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
            parents[int(process.name)] = int(rest[1])
            if name == "slurmstepd" and any(
                os.readlink(fd).startswith(str(folder)) for fd in (process / "fd").iterdir()
            ):
                daemons.append(int(process.name))
        except OSError:
            continue
    found = list(daemons)
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid and child not in found]
    return found


def _script(command: str) -> None:
    # More processors and memory than there are: rules ask for what real data needs.
    claims = {"LOCAL_SLURM_CPUS": "8", "LOCAL_SLURM_MEM_MB": "16000"}
    done = subprocess.run([SCRIPT, command], env={**os.environ, **claims}, capture_output=True, text=True, check=False)
    if done.returncode == CANNOT_BE_HAD:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes in partition `cpu`, one with a pretend GPU in `gpu`."""
    _script("up")
    yield Cluster(Path(os.environ.get("LOCAL_SLURM_DIR", Path(os.environ.get("TMPDIR", "/tmp")) / "local-slurm")))
    _script("down")


@dataclass(frozen=True)
class ClusterProject(Project):
    """A project whose jobs go through profiles/slurm; each starts Snakemake twice more, hence the time."""

    seconds: float = 1800.0

    def command(self, *options: str, edit=None) -> list[str]:
        local = super().command(edit=edit)
        begin, end = local.index("--cores"), local.index("--set-threads")
        # Production looks at the queue every 20 s; here, every 6.
        quick = ["--slurm-init-seconds-before-status-checks", "6", "--latency-wait", "10"]
        profile = ["--profile", str(ROOT / "profiles/slurm"), *quick, *options]
        return [*local[:begin], *profile, *local[end:]]


@pytest.fixture
def cluster_project(cluster: Cluster, tmp_path: Path) -> ClusterProject:
    """The tiny data set's project in an empty folder, on the cluster."""
    return ClusterProject(tmp_path / "project", {"datasets": {"tiny": TINY}})
