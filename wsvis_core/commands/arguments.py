"""Values of command line options, checked where they are read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from fractions import Fraction


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def frame_rate(least: float, most: float) -> Callable[[str], Fraction]:
    """A reader of frames per second between bounds: 29.97 → 2997/100, a rate that a container can hold."""

    def read(text: str) -> Fraction:
        try:
            rate = float(text)
        except ValueError:
            rate = math.nan
        if not least <= rate <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number of frames per second from {least:g} to {most:g}"
            )
        return Fraction(text).limit_denominator(1001)

    return read
