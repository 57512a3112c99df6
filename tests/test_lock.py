"""requirements.lock is whole: `make install` takes from it alone, without looking for what a package needs besides."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
# Ours is the project itself; cityscapesscripts asks for the copy of `typing` that Pythons before 3.5 needed.
NOT_LOCKED = {"wsvis", "typing"}


def locked() -> dict[str, Requirement]:
    """Requirements of the lock that hold for this Python and system, by name."""
    lines = [line for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    entries = [Requirement(line) for line in lines]
    return {canonicalize_name(e.name): e for e in entries if e.marker is None or e.marker.evaluate()}


def needed(name: str, extra: str = "") -> set[str]:
    """Names an installed package requires on this Python and system."""
    entries = [Requirement(text) for text in importlib.metadata.requires(name) or []]
    return {canonicalize_name(e.name) for e in entries if e.marker is None or e.marker.evaluate({"extra": extra})}


def test_the_lock_holds_whatever_a_locked_package_needs() -> None:
    entries = locked()
    installed = {canonicalize_name(d.name) for d in importlib.metadata.distributions()}
    missing = {name: needed(name) - set(entries) - NOT_LOCKED for name in sorted(set(entries) & installed)}
    assert {name: rest for name, rest in missing.items() if rest} == {}


def test_every_pin_is_exact() -> None:
    assert [e.name for e in locked().values() if [s.operator for s in e.specifier] != ["=="]] == []
