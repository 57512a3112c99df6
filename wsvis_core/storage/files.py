"""Atomic files: written beside the target, then renamed, so that no half file can be taken for a result.

The Snakefile reads this module, once per job on a cluster; so torch, 2 s of import, waits until a tensor comes.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsvis_core.errors import WsvisError
from wsvis_core.storage.space import explain_full_disk

# What torch's restricted unpickler raises on files that are cut, are no pickle at all, or hold more than tensors.
_UNREADABLE = (RuntimeError, EOFError, ValueError, OSError, LookupError, TypeError, AttributeError)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """`<path>.tmp` to write to; renamed to `path` when the block ends well, flushed to disk first.

    A full disk is a WsvisError that says so, and leaves no `<path>.tmp`.
    """
    temporary = path.with_name(path.name + ".tmp")
    with explain_full_disk(path, half=temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)


def settings_digest(settings: dict[str, Any]) -> str:
    """16 hex digits that name a settings dict, independent of the order of its keys."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """Write JSON atomically, with one newline at the end; the same value gives the same bytes."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=indent, allow_nan=False) + "\n")


def read_json(path: Path, *, made_by: str) -> Any:
    """The value in a JSON file; `made_by` names the rule or step that makes the file, for the error message."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise WsvisError(f"{path} does not exist; it is made by {made_by}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WsvisError(f"{path} is not valid JSON ({error}); delete it and run {made_by} again") from None


def save_tensors(path: Path, value: Any) -> None:
    """Save tensors and plain values (no custom classes) atomically."""
    with atomic_path(path) as temporary:
        dump_tensors(value, temporary)


def dump_tensors(value: Any, path: Path) -> None:
    """The same without the renaming. An OSError says what went wrong; given a path, torch names no cause."""
    import torch

    with open(path, "wb") as stream:
        torch.save(value, stream)


def load_tensors(path: Path) -> Any:
    """Load what `save_tensors` wrote, on the CPU, without executing any code from the file."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WsvisError(f"weights file {path} does not exist; check the path in your config") from None
    except pickle.UnpicklingError:
        # torch's own message advises to load without this protection.
        raise WsvisError(
            f"{path} cannot be read as a weights file: it holds something else than tensors and plain values; "
            f"save its state dict alone with torch.save"
        ) from None
    except _UNREADABLE as error:
        raise WsvisError(f"{path} cannot be read as a weights file: {error}") from None


def input_stamp(paths: Iterable[Path]) -> list[list[Any]]:
    """Name, size and modification time of each input file.

    Part of the digest of resumable work: what was begun on other inputs must not be continued.
    """
    stats = [(Path(path), os.stat(path)) for path in paths]
    return [[path.name, stat.st_size, stat.st_mtime_ns] for path, stat in stats]
