"""Switching a network to test behaviour for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Inside, every submodule is in evaluation mode; afterwards each has exactly the flag it had before.

    `module.train()` would not do: it also switches on submodules that someone had frozen.
    """
    flags = [(part, part.training) for part in module.modules()]
    for part, _ in flags:
        part.training = False
    try:
        yield
    finally:
        for part, flag in flags:
            part.training = flag
