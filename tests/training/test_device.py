from __future__ import annotations

import pytest
import torch

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
