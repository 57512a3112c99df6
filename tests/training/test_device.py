from __future__ import annotations

import pytest
import torch

from wsvis_core.errors import WsvisError
from wsvis_core.training import device
from wsvis_core.training.device import setup_compute


@pytest.mark.parametrize(("asked", "used"), [(2, 2), (1, 1), (0, 1)])
def test_threads(asked, used):
    setup_compute(asked)
    assert torch.get_num_threads() == used


@pytest.mark.parametrize(
    ("available", "wish", "expected"), [(False, "", "cpu"), (True, "", "cuda:0"), (True, "cpu", "cpu")]
)
def test_the_first_gpu_unless_told_otherwise(monkeypatch, available, wish, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setenv("WSVIS_DEVICE", wish)
    monkeypatch.setenv("PATH", "")  # no driver that lists GPUs: ROCm, or a container that hides it
    assert setup_compute(1, gpus=1) == torch.device(expected)


def test_denormal_numbers_count_as_zero():
    setup_compute(1)
    tiny = torch.full((8,), 1e-38)
    assert torch.equal(tiny * 0.01, torch.zeros(8))


def test_a_gpu_that_is_asked_for_and_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("WSVIS_DEVICE", "cuda")
    with pytest.raises(WsvisError, match="PyTorch sees no GPU here"):
        setup_compute(1, gpus=1)
    assert setup_compute(1) == torch.device("cpu")  # a job that needs none


def test_a_gpu_that_pytorch_cannot_use_is_said(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device, "_take_gpus", lambda count: None)
    monkeypatch.setattr(device, "_CLAIMS", ["a claim"])
    monkeypatch.delenv("WSVIS_DEVICE", raising=False)
    assert setup_compute(1, gpus=1) == torch.device("cpu")
    assert "this machine has a GPU that PyTorch cannot use" in caplog.text
