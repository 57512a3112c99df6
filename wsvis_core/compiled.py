"""Loops compiled to machine code, for work that has no array form: run-length codes, merges of sorted lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled on its first call for the types it is given.

    Machine code is kept beside the module for later processes, or in the user's cache folder; where neither can be
    written (a read-only installation without a home), each process compiles anew.
    """
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # numba finds no place for its cache
        return numba.njit(function)
