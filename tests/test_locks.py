"""Locks of runs and jobs: a kill leaves none behind, a living process keeps its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsvis_core.errors import WsvisError
from wsvis_core.locks import hold_run_lock, job_lock

HOLD_RUN = "lock = hold_run_lock(Path(sys.argv[1]))"
HOLD_JOB = "lock = job_lock(Path(sys.argv[1])); lock.__enter__()"
PROGRAM = """
import sys
from pathlib import Path
from wsvis_core.locks import hold_run_lock, job_lock
{hold}
print("held", flush=True)
sys.stdin.read()
"""
Holder = Callable[[str, Path], subprocess.Popen]


@pytest.fixture
def start_holder() -> Iterator[Holder]:
    """Start a process that holds a lock until it is killed."""
    processes = []

    def start(hold: str, path: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", PROGRAM.format(hold=hold), str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Snakemake's folder with the lock file of a run."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "0.output.lock").write_text("results/demo_vis.json\n")
    return tmp_path


def stale(folder: Path) -> bool:
    return (folder / "locks" / "0.output.lock").exists()


def test_lock_list_without_a_living_run_is_removed(folder: Path) -> None:
    with hold_run_lock(folder):
        assert not stale(folder)


def test_lock_list_of_a_living_run_stays_until_it_is_killed(folder: Path, start_holder: Holder) -> None:
    first = start_holder(HOLD_RUN, folder)
    (folder / "locks").mkdir()
    (folder / "locks" / "0.output.lock").write_text("results/demo_vis.json\n")
    with hold_run_lock(folder):
        assert stale(folder)
    first.kill()
    first.wait()
    with hold_run_lock(folder):
        assert not stale(folder)


def test_two_runs_hold_the_lock_at_once(folder: Path, start_holder: Holder) -> None:
    start_holder(HOLD_RUN, folder)
    start_holder(HOLD_RUN, folder)


def test_lock_list_of_another_machine_stays(folder: Path) -> None:
    (folder / "wsvis.lock").write_text("another-machine")
    with hold_run_lock(folder):
        assert stale(folder)


def test_run_lock_needs_no_folder_and_tolerates_one_it_cannot_make(tmp_path: Path) -> None:
    with hold_run_lock(tmp_path / "new"):
        assert (tmp_path / "new" / "wsvis.lock").exists()
    (tmp_path / "file").write_text("")
    assert hold_run_lock(tmp_path / "file" / "folder") is None


def test_job_lock_refuses_a_second_process_and_keeps_the_log(tmp_path: Path, start_holder: Holder) -> None:
    path = tmp_path / "logs" / "train_cam.log"
    first = start_holder(HOLD_JOB, path)
    path.write_text("iteration 7\n")
    with pytest.raises(WsvisError) as raised, job_lock(path):
        pass
    assert str(raised.value) == (
        f"a process of an earlier run still works on this job and writes {path}; "
        f"wait until it ends, or end it, then give the same command again"
    )
    assert path.read_text() == "iteration 7\n"
    first.kill()
    first.wait()
    with job_lock(path):
        pass
