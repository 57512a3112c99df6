"""Run every benchmark and print a Markdown table: ours, the obvious alternative, and the ratio of their medians.

    make bench            all of them
    python -m benchmarks.run walk   those whose name contains "walk"

Figures are kept in benchmarks/README.md with date and machine. One thread, so that they compare across machines.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from benchmarks.cases import CASES, Case

REPEATS = 5


def main(names: list[str]) -> None:
    """Time the cases whose name contains one of `names`, or all."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print("| what | ours, ms | alternative | its time, ms | ratio |")
    print("|---|---|---|---|---|")
    for case in CASES:
        if not names or any(name in case.name for name in names):
            print(_row(case), flush=True)


def _row(case: Case) -> str:
    ours, other = case.prepare()
    pairs = [(_milliseconds(ours), _milliseconds(other)) for _ in range(case.repeats)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return f"| {case.name} | {mine:.1f} | {case.alternative} | {theirs:.1f} | {theirs / mine:.1f}× |"


def _milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1:])
