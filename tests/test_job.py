from __future__ import annotations

import logging
import socket
import warnings
from types import SimpleNamespace

import cv2
import pytest
import torch

from tests.logs import fresh_logging
from wsvis_core.errors import WsvisError
from wsvis_core.job import job, training_run, work_settings
from wsvis_core.training.signals import Stopped


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setenv("WSVIS_DEVICE", "cpu")


def test_a_good_job_logs_to_file_and_screen(tmp_path, capsys):
    log = tmp_path / "logs" / "job.log"
    with fresh_logging(), job(str(log), threads=2) as device:
        assert device == torch.device("cpu") and torch.get_num_threads() == cv2.getNumThreads() == 2
        logging.getLogger("wsvis_core.x").info("working")
        warnings.warn("careful", stacklevel=1)
    written = log.read_text()
    assert written == capsys.readouterr().err
    lines = written.splitlines()
    assert lines[0].endswith(" working") and "careful" in written and " done in " in lines[-1]


def test_a_users_mistake_is_a_message_and_exit_code_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught, fresh_logging(), job(str(tmp_path / "job.log"), threads=1):
        raise WsvisError("set x to 3")
    written = (tmp_path / "job.log").read_text()
    assert caught.value.code == 2 and written == capsys.readouterr().err
    assert len(written.splitlines()) == 1 and written.endswith(" set x to 3\n")


def test_a_bug_leaves_its_traceback_in_the_log(tmp_path, capsys):
    with pytest.raises(KeyError), fresh_logging(), job(str(tmp_path / "job.log"), threads=1):
        {}["key"]
    written = (tmp_path / "job.log").read_text()
    assert written == capsys.readouterr().err and "the job failed unexpectedly after" in written
    assert "Traceback" in written and "KeyError: 'key'" in written and "done in" not in written


def test_a_stop_that_was_asked_for_is_no_failure_in_the_log(tmp_path):
    with pytest.raises(SystemExit) as caught, fresh_logging(), job(str(tmp_path / "job.log"), threads=1):
        logging.getLogger("wsvis").info("stopped")
        raise Stopped
    lines = (tmp_path / "job.log").read_text().splitlines()
    assert caught.value.code == 143 and len(lines) == 1 and lines[0].endswith(" stopped")


def test_work_is_named_by_settings_and_inputs(tmp_path):
    (tmp_path / "a").write_text("1")
    first = work_settings({"x": 1}, [str(tmp_path / "a")])
    assert first["settings"] == {"x": 1} and first["inputs"][0][:2] == ["a", 1]
    (tmp_path / "a").write_text("12")
    assert work_settings({"x": 1}, [str(tmp_path / "a")]) != first


def task_of(tmp_path, **options) -> SimpleNamespace:
    """What Snakemake hands to a script."""
    params = SimpleNamespace(settings={"seed": 7, "cam": {}}, checkpoints=str(tmp_path / "training"))
    given = {"threads": 4, "resources": SimpleNamespace(gpu=1), **options}
    return SimpleNamespace(rule="train_cam", params=params, input=[], **given)


@pytest.mark.parametrize(("device", "workers"), [("cpu", 0), ("cuda", 3)])
def test_a_run_from_a_task(tmp_path, monkeypatch, device, workers):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("WSVIS_CHECKPOINT_SECONDS", "5")
    task = task_of(tmp_path)
    run = training_run(task, torch.device(device))
    assert (run.name, run.seed, run.workers, run.checkpoint_seconds) == ("train_cam", 7, workers, 5.0)
    assert (run.keep_checkpoints, run.event_files, run.processes) == (2, False, 1)
    assert run.folder == tmp_path / "training" and run.settings == {"settings": task.params.settings, "inputs": []}


def test_what_the_environment_states_is_no_part_of_the_work(tmp_path, monkeypatch):
    plain = training_run(task_of(tmp_path), torch.device("cpu"))
    for name, value in (("KEEP_CHECKPOINTS", "4"), ("TENSORBOARD", "1"), ("PROCESSES", "3")):
        monkeypatch.setenv(f"WSVIS_{name}", value)
    run = training_run(task_of(tmp_path), torch.device("cpu"))
    assert (run.keep_checkpoints, run.event_files, run.processes) == (4, True, 3) and run.digest == plain.digest


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WSVIS_CHECKPOINT_SECONDS", "soon", "a number of at least 0; unset it for the default, 60"),
        ("WSVIS_CHECKPOINT_SECONDS", "-1", "a number of at least 0; unset it for the default, 60"),
        ("WSVIS_KEEP_CHECKPOINTS", "0", "a whole number of at least 1; unset it for the default, 2"),
        ("WSVIS_KEEP_CHECKPOINTS", "1.5", "a whole number of at least 1; unset it for the default, 2"),
        ("WSVIS_PROCESSES", "nan", "a whole number of at least 1; unset it for the default, 1"),
        ("WSVIS_TENSORBOARD", "yes", "a whole number of at least 0; unset it for the default, 0"),
    ],
)
def test_an_environment_that_makes_no_sense(tmp_path, monkeypatch, name, value, expected):
    monkeypatch.setenv(name, value)
    with pytest.raises(WsvisError) as caught:
        training_run(task_of(tmp_path), torch.device("cpu"))
    assert str(caught.value) == f"environment variable {name} is {value!r}, but must be {expected}"


@pytest.mark.parametrize(("claimed", "visible", "used"), [(1, 4, 1), (4, 4, 4), (4, 2, 2)])
def test_a_process_for_each_gpu_that_is_claimed_and_there(tmp_path, monkeypatch, caplog, claimed, visible, used):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    task = task_of(tmp_path, resources=SimpleNamespace(gpu=claimed))
    assert training_run(task, torch.device("cuda")).processes == used
    said = ["train_cam claims 4 GPUs but sees 2; it uses those it sees"] if claimed > visible else []
    assert caplog.messages == said


def test_under_the_live_view_only_warnings_reach_the_screen(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WSVIS_LIVE", socket.gethostname())
    with fresh_logging(), job(str(tmp_path / "job.log"), threads=1):
        logging.getLogger("x").info("by the way")
        logging.getLogger("x").warning("mind this")
    shown, written = capsys.readouterr().err, (tmp_path / "job.log").read_text()
    assert "mind this" in shown and "by the way" not in shown
    assert "mind this" in written and "by the way" in written


def test_the_live_view_of_another_machine_does_not_take_the_screen(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WSVIS_LIVE", "another")
    with fresh_logging(), job(str(tmp_path / "job.log"), threads=1):
        logging.getLogger("x").info("by the way")
    assert "by the way" in capsys.readouterr().err


def test_on_a_full_disk_the_screen_gets_what_the_log_cannot_hold(small_disk, capsys, monkeypatch):
    monkeypatch.setenv("WSVIS_LIVE", socket.gethostname())
    with fresh_logging(), job(str(small_disk.folder / "job.log"), threads=1):
        with small_disk.filled():
            logging.getLogger("x").info("said " * 2000)
    assert capsys.readouterr().err.count("said ") >= 2000


def test_ctrl_c_ends_a_job_without_a_traceback(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught, fresh_logging(), job(str(tmp_path / "job.log"), threads=1):
        raise KeyboardInterrupt
    written = (tmp_path / "job.log").read_text()
    assert caught.value.code == 130 and "stopped by Ctrl-C; the same command goes on from here" in written
    assert "Traceback" not in written + capsys.readouterr().err
