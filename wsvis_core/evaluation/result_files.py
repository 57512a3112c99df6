"""A result file checked and compared with the ground truth part by part, in several processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from wsvis_core.evaluation.ground_truth import GroundTruth
from wsvis_core.evaluation.json_input import entry_parts, read_entries, read_part
from wsvis_core.evaluation.validation import Problem, ResultChecker, ResultTrack, check_results, problem_lines

_PART_BYTES = 1 << 19  # of the file, read at once by a process: what comes of it fits into a cache


@dataclass(frozen=True)
class _Part:
    """What a part of a file holds: number of entries, sound tracks, and problems by the entries' numbers in it."""

    entries: int
    tracks: list[ResultTrack]
    problems: list[Problem]


def usable_cores() -> int:
    """Cores that this process may use; fewer than the machine has where a scheduler gives it a part of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_result_file(
    path: Path, truth: GroundTruth, processes: int, *, made_by: str
) -> tuple[list[ResultTrack], list[str]]:
    """The sound tracks of a result file in its order, and everything wrong with it, one line each.

    The same whatever the number of processes. Raises WsvisError for a file that is no JSON list.
    """
    tracks: list[ResultTrack] = []
    problems: list[Problem] = []
    entries = 0
    for part in _parts(path, truth, processes):
        if part is None:  # not as files are as a rule: entry by entry, what is wrong is found and named
            doubled: list[str] = []
            tracks, found = check_results(read_entries(path, doubled, made_by=made_by), truth)
            return tracks, doubled + found
        tracks += part.tracks
        problems += [(entries + number, text) for number, text in part.problems]
        entries += part.entries
    return tracks, problem_lines(problems)


def _parts(path: Path, truth: GroundTruth, processes: int) -> Iterator[_Part | None]:
    """The parts of the file in order; None, and no more, where one cannot be read by itself."""
    ranges = entry_parts(path, _PART_BYTES) if path.is_file() else []
    if not ranges:
        yield None
    elif min(processes, len(ranges)) == 1:
        checker = ResultChecker(truth)
        yield from _until_none(_check(checker, path, *part) for part in ranges)
    else:
        # A forked process has the ground truth and all modules from its parent.
        context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else None)
        workers = min(processes, len(ranges))
        with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(truth, path)) as pool:
            yield from _until_none(pool.map(_check_here, ranges))


def _until_none(parts: Iterable[_Part | None]) -> Iterator[_Part | None]:
    for part in parts:
        yield part
        if part is None:
            return


def _check(checker: ResultChecker, path: Path, begin: int, end: int) -> _Part | None:
    entries = read_part(path, begin, end)
    return None if entries is None else _Part(len(entries), *checker.check(entries))


_here: tuple[ResultChecker, Path]  # of a worker process


def _start(truth: GroundTruth, path: Path) -> None:
    global _here
    # What is read refers to nothing in a circle, and a collection would go through, and copy, the parent's objects.
    gc.disable()
    _here = ResultChecker(truth), path


def _check_here(part: tuple[int, int]) -> _Part | None:
    return _check(*_here, *part)
