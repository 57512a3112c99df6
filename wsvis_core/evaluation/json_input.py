"""JSON files to be evaluated: doubled keys are found, and long lists are read entry by entry."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from wsvis_core.errors import WsvisError

_BLOCK = 1 << 22  # characters read at once
_PATIENCE = 1 << 26  # an error this many characters back does not come from a text that ends too early
_SIZE, _COUNTS = itemgetter("size"), itemgetter("counts")
_BETWEEN = re.compile(rb'\}[ \t\r\n]*(,)[ \t\r\n]*\{[ \t\r\n]*"(?:video_id|category_id|score|segmentations|id)"')
_WINDOW = 1 << 18  # bytes searched for a cut at a time
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
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
        return (value if _keys_once(text, value) else json.loads(text, object_pairs_hook=keys)), keys.found


def read_entries(path: Path, problems: list[str], *, made_by: str) -> Iterator[Any]:
    """The entries of a JSON list, one by one, without holding the whole file; doubled keys are added to `problems`."""
    with _explained(path, made_by), open(path, encoding="utf-8") as stream:
        for number, (entry, text) in enumerate(_entries(path, stream), 1):
            # Looking at every object's keys while it is read takes as long as reading it.
            if not _keys_once(text, entry):
                keys = DoubledKeys()
                json.loads(text, object_pairs_hook=keys)
                problems += [f"result {number}: {problem}" for problem in keys.found]
            yield entry


def entry_parts(path: Path, size: int) -> list[tuple[int, int]]:
    """Where to cut a JSON list of result entries: (begin, end) in bytes of about `size` each, between its brackets.

    A cut lies at a comma that seems to part two entries. Whether it does is seen when the parts are read: they all
    are lists of whole entries, or `read_part` cannot read one of them. Empty where the file cannot be cut like this.
    """
    with open(path, "rb") as stream:
        total = stream.seek(0, os.SEEK_END)
        begin, end = _brackets(stream, total)
        if begin < 0:
            return []
        cuts = [begin]
        while (place := cuts[-1] + size) < end and (comma := _comma(stream, place, end)) is not None:
            cuts.append(comma + 1)
        return list(zip(cuts, [*(cut - 1 for cut in cuts[1:]), end], strict=True))


def _brackets(stream: BinaryIO, total: int) -> tuple[int, int]:
    """Where what stands between the first and the last bracket begins and ends; -1 where there are none."""
    stream.seek(0)
    head = stream.read(_WINDOW)
    stream.seek(max(0, total - _WINDOW))
    tail = stream.read().rstrip(_SPACE.encode())
    begin = len(head) - len(head.lstrip(_SPACE.encode()))
    if head[begin : begin + 1] != b"[" or tail[-1:] != b"]":
        return -1, -1
    return begin + 1, max(0, total - _WINDOW) + len(tail) - 1


def _comma(stream: BinaryIO, place: int, end: int) -> int | None:
    """The first comma from `place` on that seems to part two entries, None if there is none before `end`."""
    text = b""
    while place + len(text) < end:
        stream.seek(place + len(text))
        text += stream.read(min(max(_WINDOW, len(text)), end - place - len(text)))
        if found := _BETWEEN.search(text):
            return place + found.start(1)
    return None


def read_part(path: Path, begin: int, end: int) -> list[Any] | None:
    """The entries in a part of a file (see `entry_parts`).

    None where it is no list of entries, or may have doubled keys: then `read_entries` says what is wrong.
    """
    with open(path, "rb") as stream:
        stream.seek(begin)
        text = b"".join((b"[", stream.read(end - begin), b"]"))
    try:
        written = text.decode()
        entries = json.loads(written)
    except (ValueError, RecursionError):
        return None
    return entries if _keys_once(written, entries) else None


def _keys_once(text: str, value: Any) -> bool:
    """Whether the text of a JSON value has no doubled keys for sure: none of its quotation marks has gone missing.

    False too where a string holds a quotation mark.
    """
    return text.count('"') == 2 * _strings(value)


def _strings(value: Any) -> int:
    """Strings in a JSON value, keys included."""
    if isinstance(value, dict):
        inside = (_mask_strings(v) if k == "segmentations" else _strings(v) for k, v in value.items())
        return len(value) + sum(inside)
    if isinstance(value, list):
        return sum(map(_strings, value))
    return 1 if isinstance(value, str) else 0


def _mask_strings(masks: Any) -> int:
    """The same; lists of masks of the usual form, of which there are many, do not need to be gone into."""
    try:
        present = list(filter(None, masks))
        sizes, counts = list(map(_SIZE, present)), list(map(_COUNTS, present))
        if {*map(len, present)} == {2} and {*map(type, counts)} == {str} and sizes.count(sizes[0]) == len(sizes):
            return len(present) * (3 + _strings(sizes[0]))
    except (TypeError, KeyError):
        pass
    return _strings(masks)


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
