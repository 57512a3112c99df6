from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from wsvis_core.training import device
from wsvis_core.training.gpus import Gpu, asked_gpus, claim_gpus, visible_gpus

UUIDS = [f"GPU-{letter * 8}-0000" for letter in "abc"]
GPUS = [Gpu(index, uuid) for index, uuid in enumerate(UUIDS)]


@pytest.fixture
def driver(tmp_path, monkeypatch) -> Path:
    """A machine whose driver lists three GPUs."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    listed = "\n".join(f"{gpu.index}, {gpu.uuid}" for gpu in GPUS)
    program.write_text(f"#!/bin/sh\ncat <<END\n{listed}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        ({"gpu": 1}, 1),
        ({"gpu": 4}, 4),
        ({"gpu": 0}, 0),
        ({}, 0),
        ({"gres": "gpu"}, 1),
        ({"gres": "gpu:2"}, 2),
        ({"gres": "gpu:a100"}, 1),
        ({"gres": "gpu:a100:2", "gpu": 0}, 2),
        ({"gres": "shard:3"}, 0),
    ],
)
def test_what_a_job_claims(resources, count):
    assert asked_gpus(SimpleNamespace(**resources)) == count


def test_a_job_without_resources_claims_none():
    assert asked_gpus(None) == 0


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("2", [2]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        (UUIDS[1], [1]),
        ("GPU-c", [2]),
        ("GPU-", []),
        ("0,7,1", [0]),
    ],
)
def test_what_the_user_or_the_scheduler_left_visible(driver, wish, expected):
    environment = {} if wish is None else {"CUDA_VISIBLE_DEVICES": wish}
    assert [gpu.index for gpu in visible_gpus(environment)] == expected


def test_no_driver_no_gpus(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert visible_gpus({}) == []


def test_a_driver_that_fails_lists_none(driver):
    driver.write_text("#!/bin/sh\necho no devices were found\nexit 6\n")
    assert visible_gpus({}) == []


def test_two_claims_never_share(tmp_path):
    first, second = claim_gpus(1, GPUS, tmp_path), claim_gpus(2, GPUS, tmp_path)
    assert [gpu.index for gpu in first.gpus] == [0] and [gpu.index for gpu in second.gpus] == [1, 2]
    first.release()
    assert [gpu.index for gpu in claim_gpus(1, GPUS, tmp_path).gpus] == [0]


def test_who_asks_for_more_than_there_are_gets_all(tmp_path):
    assert len(claim_gpus(5, GPUS, tmp_path).gpus) == 3


def test_a_job_waits_for_all_its_gpus_and_holds_none_meanwhile(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    held = claim_gpus(1, GPUS[1:], tmp_path)
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        # Whoever waits for three leaves the two free ones to others.
        others = claim_gpus(2, [GPUS[0], GPUS[2]], tmp_path)
        assert len(others.gpus) == 2
        others.release()
        if len(naps) == 3:
            held.release()

    assert len(claim_gpus(3, GPUS, tmp_path, sleep=sleep).gpus) == 3 and len(naps) == 3
    assert len(caplog.messages) == 1 and "waiting for 3 free of 3 GPUs" in caplog.text
    assert f"1 last held by process {os.getpid()}" in caplog.text


def test_a_killed_process_frees_its_gpu(tmp_path):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom wsvis_core.training.gpus import Gpu, claim_gpus\n"
        "claim = claim_gpus(1, [Gpu(0, 'GPU-x')], Path(sys.argv[1]))\nprint('held', flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        naps = []

        def kill(seconds):
            naps.append(seconds)
            holder.send_signal(signal.SIGKILL)
            holder.wait()

        assert [gpu.uuid for gpu in claim_gpus(1, [Gpu(0, "GPU-x")], tmp_path, sleep=kill).gpus] == ["GPU-x"]
    assert len(naps) == 1


def test_every_user_of_the_machine_can_lock(tmp_path):
    folder = tmp_path / "locks"
    previous = os.umask(0o077)
    try:
        claim_gpus(1, GPUS, folder).release()
    finally:
        os.umask(previous)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / f"{UUIDS[0]}.lock").stat().st_mode) == 0o666


def test_where_nothing_can_be_locked_the_first_are_taken_and_it_says_so(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    claim = claim_gpus(2, GPUS, tmp_path / "file")
    assert [gpu.index for gpu in claim.gpus] == [0, 1]
    assert len(caplog.messages) == 1 and "GPUs cannot be claimed, so jobs may share one: " in caplog.text


@pytest.fixture
def taking(driver, tmp_path, monkeypatch):
    """`setup_compute` on that machine; every call stands for a job that goes on."""
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: bool(os.environ.get("CUDA_VISIBLE_DEVICES")))
    monkeypatch.setattr(device, "default_folder", lambda: tmp_path / "locks")
    monkeypatch.setattr(device, "_CLAIMS", [])

    def take(gpus, **environment):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return str(device.setup_compute(1, gpus)), os.environ.get("CUDA_VISIBLE_DEVICES")

    return take


def test_a_job_sees_only_the_gpus_it_claimed(taking):
    assert taking(1) == ("cuda:0", UUIDS[0])
    assert taking(2) == ("cuda:0", f"{UUIDS[1]},{UUIDS[2]}")


def test_a_job_stays_within_what_it_was_given(taking):
    assert taking(1, CUDA_VISIBLE_DEVICES="2") == ("cuda:0", UUIDS[2])
    assert taking(1, CUDA_VISIBLE_DEVICES="") == ("cpu", "")


def test_jobs_share_when_told_to(taking):
    assert taking(1, WSVIS_SHARE_GPUS="1") == taking(1, WSVIS_SHARE_GPUS="1") == ("cuda:0", UUIDS[0])


@pytest.mark.parametrize("environment", [{}, {"WSVIS_DEVICE": "cpu"}])
def test_a_job_that_claims_none_leaves_them_alone(taking, environment):
    assert taking(int(bool(environment)), **environment) == ("cpu", None)
