"""Which device and how many threads a job computes with: machine facts, never part of a result's settings."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from typing import Literal

import torch

from wsvis_core.errors import WsvisError
from wsvis_core.training.gpus import Claim, claim_gpus, default_folder, visible_gpus
from wsvis_core.training.machine import stated_number

log = logging.getLogger(__name__)
# Kept until the process ends; a claim that nothing holds any more would be released.
_CLAIMS: list[Claim] = []

Precision = Literal["float32", "bfloat16"]


def setup_compute(threads: int, gpus: int = 0) -> torch.device:
    """Use `threads` CPU threads, and `gpus` GPUs where there are any: the first of them, else the CPU.

    The GPUs are free ones and stay this process's own until it ends (`training/gpus.py`); from here on it sees no
    others. WSVIS_DEVICE=cpu keeps a job off the GPU, cuda refuses to go on without one; WSVIS_SHARE_GPUS=1 takes the
    first ones whoever uses them.
    """
    torch.set_num_threads(max(threads, 1))
    # Denormal floats appear in the tails of softmaxes and slow CPU kernels down many times.
    torch.set_flush_denormal(True)
    wish = _wished_device()
    if gpus < 1 or wish == "cpu":
        return torch.device("cpu")
    _take_gpus(gpus)
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if wish == "cuda":
        raise WsvisError(
            "WSVIS_DEVICE is 'cuda', and PyTorch sees no GPU here; `nvidia-smi` shows what the machine has, "
            "`python -m torch.utils.collect_env` what PyTorch was built for. Unset WSVIS_DEVICE to compute on the CPU"
        )
    if _CLAIMS:
        log.warning("this machine has a GPU that PyTorch cannot use: computing on the CPU, many times slower")
    return torch.device("cpu")


def _wished_device() -> str:
    wish = os.environ.get("WSVIS_DEVICE", "")
    if wish not in ("", "cpu", "cuda"):
        raise WsvisError(f"WSVIS_DEVICE is '{wish}', must be 'cpu', 'cuda' or unset (a GPU where there is one)")
    return wish


def _take_gpus(count: int) -> None:
    """Claim GPUs for the life of this process and hide the others; nothing where no NVIDIA driver lists any."""
    present = visible_gpus()
    if not present:
        return
    shared = stated_number("WSVIS_SHARE_GPUS", 0, least=0) > 0
    claim = Claim(present[:count], ExitStack()) if shared else claim_gpus(count, present, default_folder())
    _CLAIMS.append(claim)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.uuid for gpu in claim.gpus)
    log.info("computing on GPU %s", ", ".join(str(gpu.index) for gpu in claim.gpus))


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context for a network's forward pass: "bfloat16" runs convolutions in half the bits, "float32" changes nothing.

    Weights, gradients and optimiser stay float32; results of the network should be turned to float32 for the losses.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def memory_format(device: torch.device) -> torch.memory_format:
    """The layout convolutions are fastest in: channels last on a GPU; a CPU gains nothing from it (measured)."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format
