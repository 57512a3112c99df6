from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from wsvis_core.job import training_run, work_settings

SCRIPT = """
import logging, warnings
from wsvis_core.errors import WsvisError
from wsvis_core.job import job

with job({log!r}, threads=1) as device:
    logging.getLogger("wsvis_core.x").info("on %s", device)
    {body}
"""


def run_job(folder: Path, body: str) -> tuple[int, str, str]:
    """Exit code, log file and screen of a job in a process of its own, as the workflow runs it."""
    log = folder / "logs" / "job.log"
    command = [sys.executable, "-c", SCRIPT.format(log=str(log), body=body)]
    done = subprocess.run(command, capture_output=True, text=True, env={"WSVIS_DEVICE": "cpu", "OMP_NUM_THREADS": "1"})
    return done.returncode, log.read_text(), done.stderr


def test_a_good_job_logs_to_file_and_screen(tmp_path):
    code, log, screen = run_job(tmp_path, "warnings.warn('careful')")
    assert code == 0 and log == screen
    lines = log.splitlines()
    assert lines[0].endswith(" on cpu") and "careful" in log and " done in " in lines[-1]


def test_a_users_mistake_is_a_message_and_exit_code_2(tmp_path):
    code, log, screen = run_job(tmp_path, "raise WsvisError('set x to 3')")
    assert code == 2 and log == screen
    assert log.splitlines()[-1].endswith(" set x to 3") and "Traceback" not in log


def test_a_bug_leaves_its_traceback_in_the_log(tmp_path):
    code, log, screen = run_job(tmp_path, "{}['key']")
    assert code == 1 and "the job failed unexpectedly after" in log
    assert "Traceback" in log and "KeyError: 'key'" in log and "KeyError: 'key'" in screen


def test_work_is_named_by_settings_and_inputs(tmp_path):
    (tmp_path / "a").write_text("1")
    first = work_settings({"x": 1}, [str(tmp_path / "a")])
    assert first["settings"] == {"x": 1} and first["inputs"][0][:2] == ["a", 1]
    (tmp_path / "a").write_text("12")
    assert work_settings({"x": 1}, [str(tmp_path / "a")]) != first


@pytest.mark.parametrize(("device", "workers"), [("cpu", 0), ("cuda", 3)])
def test_a_run_from_a_task(tmp_path, monkeypatch, device, workers):
    monkeypatch.setenv("WSVIS_CHECKPOINT_SECONDS", "5")
    params = SimpleNamespace(settings={"seed": 7, "cam": {}}, checkpoints=str(tmp_path / "training"))
    task = SimpleNamespace(rule="train_cam", params=params, input=[], threads=4)
    run = training_run(task, torch.device(device))
    assert (run.name, run.seed, run.workers, run.checkpoint_seconds) == ("train_cam", 7, workers, 5.0)
    assert run.folder == tmp_path / "training" and run.settings == {"settings": params.settings, "inputs": []}
