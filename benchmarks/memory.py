"""Peak memory of one side of a case, in a process of its own (Linux).

python -m benchmarks.memory <case number> <0 ours, 1 alternative> prints MB above what the process held before.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.cases import CASES


def peak_of(number: int, side: int) -> float:
    """MB that one side of case `number` needs at most beyond its inputs, from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", str(number), str(side)]
    # Freed blocks go back to the system at once, so that inputs leave no room that hides what the call needs.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def measure(number: int, side: int) -> float:
    """The same in this process, which must not have done much before."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    call = CASES[number].prepare()[side]
    reset_peak()
    before = kilobytes("VmRSS")
    call()
    return (kilobytes("VmHWM") - before) / 1024


def reset_peak() -> None:
    """Set VmHWM of this process back to what it holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def kilobytes(field: str) -> int:
    """A memory figure of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


if __name__ == "__main__":
    print(measure(int(sys.argv[1]), int(sys.argv[2])))
