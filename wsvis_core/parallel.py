"""Frames in parallel: a thread per core, each computing alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2
import torch

Item, Result = TypeVar("Item"), TypeVar("Result")


def map_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """`[function(item) for item in items]`, up to `threads` calls at a time; the first error is raised.

    Each call computes with one thread of its own: torch and OpenCV release the interpreter while they work, and several
    frames at once use the cores better than one frame split over them. `function` must not change shared state.
    """
    items = list(items)
    if threads <= 1 or len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items)), initializer=_compute_alone) as pool:
        return list(pool.map(function, items))


def _compute_alone() -> None:
    """Settings of a worker thread: torch keeps both per thread."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cv2.setNumThreads(1)
