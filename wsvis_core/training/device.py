"""Which device and how many threads a job computes with: machine facts, never part of a result's settings."""

from __future__ import annotations

import os
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


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


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context for a network's forward pass: "bfloat16" runs convolutions in half the bits, "float32" changes nothing.

    Weights, gradients and optimiser stay float32; results of the network should be turned to float32 for the losses.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def memory_format(device: torch.device) -> torch.memory_format:
    """The layout convolutions are fastest in: channels last on a GPU; a CPU gains nothing from it (measured)."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format
