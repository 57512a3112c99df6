"""Facts about the machine that a user may state in the environment; none of them changes a result."""

from __future__ import annotations

import os

from wsvis_core.errors import WsvisError


def stated_number(name: str, default: float, *, least: float) -> float:
    """The number in the environment variable, the default where it is not set or empty; WsvisError for anything else.

    Whole numbers only where default and least are whole (`int`).
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    whole = isinstance(default, int) and isinstance(least, int)
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not value >= least:
        kind = "a whole number" if whole else "a number"
        raise WsvisError(
            f"environment variable {name} is {text!r}, but must be {kind} of at least {least:g}; "
            f"unset it for the default, {default:g}"
        )
    return value
