"""The live view and `wsvis status` on real runs: on a terminal, into a file, with a failure, killed."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.terminal import lines_of, on_terminal
from wsvis_core.cli import main

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow-run")]
PREPARED = ("results/tiny/dataset/videos.json",)


@pytest.fixture
def project(tiny_project, make_project):
    """The tiny data set as far as it is prepared: two jobs of seconds."""
    return make_project(tiny_project.folder, tiny_project.config, PREPARED)


def in_terminal(project, *options: str, act: Callable[[int, str], bool] | None = None) -> tuple[int, str]:
    """Exit code and output of a run on a terminal."""
    return on_terminal(project.command(*options), project.environment(), act=act)


def status(project, capsys) -> tuple[int, str]:
    code = main(["status", str(project.folder / "results/tiny_vis.json")])
    return code, capsys.readouterr().out


def test_a_terminal_sees_one_live_view(project, capsys) -> None:
    code, written = in_terminal(project)
    assert code == 0, written
    lines = lines_of(written)
    assert any(re.match(r"wsvis [█░]+  0 of 2 jobs, 0:0\d so far, time left unknown", line) for line in lines)
    assert any(re.match(r"running  generate_dataset 0/1", line) for line in lines)
    assert any(re.match(r"to come  prepare_dataset", line) for line in lines)
    assert lines[-1].startswith("wsvis: all 2 jobs done in ") and "\x1b[J" in written
    assert "Select jobs to execute" not in written and "steps (" not in written
    code, page = status(project, capsys)
    assert code == 0
    assert re.search(r"^generate_dataset  1/1$", page, re.MULTILINE), page


def test_a_log_file_gets_plain_lines(project, capsys) -> None:
    outcome = project.run()
    assert outcome.returncode == 0, outcome.output
    assert "2 of 2 steps (100%) done" in outcome.output and "\x1b" not in outcome.output
    assert status(project, capsys)[0] == 0
    before = sorted((project.folder / ".snakemake/wsvis").iterdir())
    assert "Nothing to be done" in project.run().output
    assert "wsvis" not in project.run("--dry-run").output.partition("Building DAG")[2]
    assert sorted((project.folder / ".snakemake/wsvis").iterdir()) == before


def broken(project) -> None:
    """The annotations are there and the frames are not."""
    path = project.folder / "data/tiny/train.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")


def test_a_failure_is_seen_at_once_and_told_from_another_shell(project, capsys) -> None:
    broken(project)
    code, written = in_terminal(project)
    lines = lines_of(written)
    assert code == 1
    start = next(i for i, line in enumerate(lines) if line.startswith("prepare_dataset of tiny failed after "))
    assert lines[start + 1] == "  log: logs/tiny/prepare_dataset.log"
    assert lines[start + 2].endswith("data set 'tiny': data/tiny/train/JPEGImages not found.")
    assert lines[-1].startswith("wsvis: prepare_dataset failed; 0 of 1 jobs done in ")
    code, page = status(project, capsys)
    assert code == 4 and "  log: logs/tiny/prepare_dataset.log" in page and "JPEGImages not found" in page


def test_quiet_is_quiet_and_recorded(project, capsys) -> None:
    code, written = in_terminal(project, "--quiet", "all")
    assert code == 0 and "jobs" not in written and "\x1b[J" not in written
    assert status(project, capsys)[0] == 0


def test_ctrl_c_leaves_a_clean_screen(project, capsys) -> None:
    def interrupt(process: int, written: str) -> bool:
        if "running  generate_dataset" not in written:
            return False
        os.killpg(process, signal.SIGINT)
        return True

    # So many videos that the job still runs when its line has been read, however slow the machine.
    many = project.changed({"synthetic": {**project.config["datasets"]["tiny"]["synthetic"], "num_videos": 2000}})
    code, written = in_terminal(many, act=interrupt)
    assert code == 1 and "Traceback" not in written
    assert re.match(r"wsvis: stopped; [01] of 2 jobs done in [\d:]+\. The same command", lines_of(written)[-1]), written
    code, page = status(project, capsys)
    assert code == 5 and page.startswith("tiny: stopped ")


def test_a_killed_run_is_known_as_such(project, capsys, tmp_path: Path) -> None:
    process = project.start(tmp_path / "screen")
    until = time.monotonic() + 60
    while status(project, capsys)[0] != 3 if (project.folder / ".snakemake/wsvis").exists() else True:
        assert time.monotonic() < until and process.poll() is None, (tmp_path / "screen").read_text()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, page = status(project, capsys)
    assert code == 5 and page.startswith("tiny: interrupted: Snakemake is process "), page
