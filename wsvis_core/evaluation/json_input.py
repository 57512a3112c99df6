"""JSON files to be evaluated: doubled keys are found, and long lists are read entry by entry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from wsvis_core.errors import WsvisError

_BLOCK = 1 << 22  # characters read at once
_PATIENCE = 1 << 26  # an error this many characters back does not come from a text that ends too early
_ENTRY_KEYS = {"video_id", "category_id", "score", "segmentations"}
_MASK_KEYS = {"size", "counts"}
_SPACE = " \t\r\n"
_SPACES = re.compile(r"[ \t\r\n]*")


class DoubledKeys:
    """Makes objects of JSON pairs as usual (the last of equal keys counts) and notes the keys that occur twice."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            keys = [key for key, _ in pairs]
            name = f"the object with id {made['id']}" if "id" in made else f"an object with keys {', '.join(made)}"
            self.found += [f"{name}: key {key!r} occurs {n} times" for key in made if (n := keys.count(key)) > 1]
        return made


def read_object(path: Path, *, made_by: str) -> tuple[Any, list[str]]:
    """The value in a JSON file, and its doubled keys, one line each. `made_by`: what makes such a file."""
    keys = DoubledKeys()
    with _explained(path, made_by):
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=keys), keys.found


def read_entries(path: Path, problems: list[str], *, made_by: str) -> Iterator[Any]:
    """The entries of a JSON list, one by one, without holding the whole file; doubled keys are added to `problems`."""
    with _explained(path, made_by), open(path, encoding="utf-8") as stream:
        for number, (entry, text) in enumerate(_entries(path, stream), 1):
            # Looking at every object's keys while it is read takes as long as reading it.
            if text.count('"') != _quotes(entry):
                keys = DoubledKeys()
                json.loads(text, object_pairs_hook=keys)
                problems += [f"result {number}: {problem}" for problem in keys.found]
            yield entry


def _quotes(entry: Any) -> int:
    """Quotation marks that a result entry as the format has it is written with, 0 for any other.

    One doubled key more would need two more, since neither keys nor run lengths hold any.
    """
    try:
        masks = [mask for mask in entry["segmentations"] if mask is not None]
        plain = entry.keys() == _ENTRY_KEYS and all(mask.keys() == _MASK_KEYS for mask in masks)
        return 2 * (len(_ENTRY_KEYS) + 3 * len(masks)) if plain else 0
    except (TypeError, KeyError, AttributeError):
        return 0


def _entries(path: Path, stream: TextIO) -> Iterator[tuple[Any, str]]:
    """The values between the brackets of a JSON list, and the text of each; ValueError where it is no JSON."""
    decoder = json.JSONDecoder()
    text, before = stream.read(_BLOCK), 0
    place = _next(text, 0) + 1
    if text[place - 1 : place] != "[":
        raise WsvisError(f"{path}: it must be a JSON list of tracks")
    began, mark = False, ","
    while mark == ",":
        start = _next(text, place)
        if not began and text[start : start + 1] == "]":
            place = start + 1
            break
        try:
            entry, end = decoder.raw_decode(text, start)
            written, end = text[start:end], _next(text, end)
            if end == len(text):  # what follows the entry must be here too, or else it may go on
                raise json.JSONDecodeError("Expecting ',' delimiter", text, end)
        except json.JSONDecodeError as error:
            more = stream.read(_BLOCK)
            if not more or error.pos < len(text) - _PATIENCE:
                raise ValueError(f"{error.msg}: character {before + error.pos}") from None
            before += place
            text, place = text[place:] + more, 0
            continue
        began, mark, place = True, text[end], end + 1
        yield entry, written
    if mark not in ",]":
        raise ValueError(f"Expecting ',' delimiter: character {before + end}")
    if (text[place:] + stream.read()).strip(_SPACE):
        raise ValueError("Extra data after the list")


def _next(text: str, place: int) -> int:
    """The first character from `place` on that is no space."""
    found = _SPACES.match(text, place)
    return found.end() if found else place


@contextmanager
def _explained(path: Path, made_by: str) -> Iterator[None]:
    """Turns what goes wrong in reading a JSON file into a WsvisError."""
    try:
        yield
    except FileNotFoundError:
        raise WsvisError(f"{path} does not exist; it is made by {made_by}") from None
    except (ValueError, RecursionError) as error:
        raise WsvisError(f"{path} is not valid JSON ({error}); delete it and run {made_by} again") from None
