"""Loops compiled to machine code, for work that has no array form: run-length codes, merges of sorted lists."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled on its first call for the types it is given.

    Machine code is kept beside the module for later processes, or in the user's cache folder; where neither can be
    written (a read-only installation without a home, a full disk), each process compiles anew.
    """
    try:
        found = numba.njit(cache=True)(function)
    except RuntimeError:  # numba finds no place for its cache
        return numba.njit(function)
    # numba finds a place by writing an empty file, which works on a full disk too.
    keep = found._cache.save_overload

    def keep_if_possible(*code: Any) -> None:
        with contextlib.suppress(OSError):
            keep(*code)

    found._cache.save_overload = keep_if_possible
    return found
