"""What differs between two settings dicts, key by key, for a log."""

from __future__ import annotations

import json
from typing import Any

ABSENT = "(absent)"


def setting_differences(old: Any, new: Any) -> list[str]:
    """Lines "maskconsist.lr: 0.01 -> 0.02" for every value that differs, in the order of the dotted names.

    old, new: plain values as JSON gives them back. Lists of plain values are compared as a whole, items of other lists
    one by one, under their position. A key that only one side has stands as (absent) on the other.
    """
    before, after = _flat(old, ""), _flat(new, "")
    return [
        f"{name}: {before.get(name, ABSENT)} -> {after.get(name, ABSENT)}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _flat(value: Any, name: str) -> dict[str, str]:
    """Dotted name → value as JSON."""
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict) or not value:
        return {name: json.dumps(value)}
    parts = [_flat(item, f"{name}.{key}" if name else str(key)) for key, item in value.items()]
    return {path: text for part in parts for path, text in part.items()}
