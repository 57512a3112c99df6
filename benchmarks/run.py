"""Run every benchmark and print a Markdown table: ours, the obvious alternative, and the ratio of their times.

    make bench                           all of them
    python -m benchmarks.run walk IoU    those whose name contains one of the words
    python -m benchmarks.run breakdown   where the time of the pseudo-label stage goes
    python -m benchmarks.run maskconsist what MaskConsist adds to a training step, and where a step's time goes
    python -m benchmarks.run tracking    frames per second of the trackers, and where UnOVOST's time goes
    python -m benchmarks.run overlay     peak memory of drawing tracks on a short and on a long video
    python -m benchmarks.run import      peak memory of importing a short and a long video
    python -m benchmarks.run evaluator   the VIS metric of 300 videos against a plain loop of pycocotools calls

Figures are kept in benchmarks/README.md with date and machine. One thread and CPU time, so that they compare across
machines and suffer little from what else runs there; the smallest of a few times counts.
"""

from __future__ import annotations

import sys
import time

import torch

from benchmarks.breakdown import print_breakdown
from benchmarks.case import Call, Case
from benchmarks.cases import CASES
from benchmarks.evaluator import print_evaluator
from benchmarks.import_memory import print_import_memory
from benchmarks.maskconsist_step import print_maskconsist
from benchmarks.memory import peak_of
from benchmarks.overlay_memory import print_overlay_memory
from benchmarks.tracking import print_tracking


def main(names: list[str]) -> None:
    """Time the cases whose name contains one of `names`, or all."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if names == ["breakdown"]:
        return print_breakdown()
    if names == ["maskconsist"]:
        return print_maskconsist()
    if names == ["tracking"]:
        return print_tracking()
    if names == ["overlay"]:
        return print_overlay_memory()
    if names == ["import"]:
        return print_import_memory()
    if names == ["evaluator"]:
        return print_evaluator()
    print("| what | ours, ms | alternative | its time, ms | ratio | peak memory, MB | error of ours |")
    print("|---|---|---|---|---|---|---|")
    for number, case in enumerate(CASES):
        if not names or any(name in case.name for name in names):
            print(_row(number, case), flush=True)
    if not names:
        print()
        print_breakdown()
        print()
        print_maskconsist()
        print()
        print_tracking()
        print()
        print_overlay_memory()
        print()
        print_import_memory()
        print()
        print_evaluator()


def _row(number: int, case: Case) -> str:
    ours, other = (_milliseconds(call, repeats) for call, repeats in zip(case.prepare(), case.repeats, strict=True))
    memory = ""
    if case.memory:
        peaks = [peak_of(number, side) for side in (0, 1)]
        memory = f"{peaks[0]:.0f} / {peaks[1]:.0f} = 1/{peaks[1] / peaks[0]:.1f}"
    error = case.error() if case.error else ""
    return f"| {case.name} | {ours:.1f} | {case.alternative} | {other:.1f} | {other / ours:.1f}× | {memory} | {error} |"


def _milliseconds(call: Call, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return 1000 * min(times)


if __name__ == "__main__":
    main(sys.argv[1:])
