"""Which device and how many threads a job computes with: machine facts, never part of a result's settings."""

from __future__ import annotations

import os

import torch


def setup_compute(threads: int) -> torch.device:
    """Use `threads` CPU threads; the first visible GPU if there is one, else the CPU.

    WSVIS_DEVICE=cpu keeps a job off the GPU.
    """
    torch.set_num_threads(max(threads, 1))
    # Denormal floats appear in the tails of softmaxes and slow CPU kernels down many times.
    torch.set_flush_denormal(True)
    if torch.cuda.is_available() and os.environ.get("WSVIS_DEVICE", "") != "cpu":
        return torch.device("cuda", 0)
    return torch.device("cpu")
