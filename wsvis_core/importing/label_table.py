"""The CSV of class labels: read as a whole, with everything that is wrong in it, line by line."""

from __future__ import annotations

import codecs
import csv
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from wsvis_core.datasets.findings import Findings
from wsvis_core.errors import WsvisError

FORMS = (
    ("video", "class"),
    ("video", "start_frame", "end_frame", "class"),
    ("video", "frame", "class"),
)
FORMS_TEXT = " or ".join(f"'{','.join(form)}'" for form in FORMS)
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class LabelRow:
    """One row: the class, "" for none of them, of frames `start` to `end`, both included; None: first, last.

    frame: of the form video,frame,class; a number or a file name.
    """

    line: int
    video: str
    name: str
    start: int | None = None
    end: int | None = None
    frame: str | None = None


@dataclass
class VideoLabels:
    """What the rows of one video say of its frames, by the numbers the CSV calls them by."""

    whole: set[str] = field(default_factory=set)
    ranges: list[tuple[int, int | None, str]] = field(default_factory=list)
    frames: dict[int, set[str]] | None = None  # None: the frames are not labelled one by one

    def names(self) -> set[str]:
        """All classes of the video."""
        single = set().union(*self.frames.values()) if self.frames else set()
        return self.whole | {name for _, _, name in self.ranges} | single

    def at(self, number: int) -> set[str]:
        """The classes of a frame."""
        if self.frames is not None:
            return self.frames.get(number, set())
        inside = {name for start, end, name in self.ranges if start <= number and (end is None or number <= end)}
        return self.whole | inside


def read_label_table(path: Path, findings: Findings) -> list[LabelRow]:
    """The rows of a CSV in one of three forms, told by its header: video,class · video,start_frame,end_frame,class ·
    video,frame,class; in any order of columns.

    Separated by comma, semicolon or tab; UTF-8 (with or without a byte order mark) or UTF-16 with one. Empty lines
    count for nothing. What is wrong with a row goes to `findings`; a file that is no such table raises WsvisError.
    """
    lines = _lines(_text(path))
    if not lines:
        raise WsvisError(f"{path} is empty: expected a first line {FORMS_TEXT} and a row for every video")
    (first, header), rows = lines[0], lines[1:]
    columns = _columns(path, first, header)
    if not rows:
        raise WsvisError(f"{path} has a first line and no rows: expected a row for every video below it")
    parsed = [_row(path, line, cells, columns, findings) for line, cells in rows]
    return [row for row in parsed if row is not None]


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise WsvisError(f"label file {path} does not exist; expected a CSV with a first line {FORMS_TEXT}") from None
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise WsvisError(
            f"{path}:{line}: not UTF-8 (byte {data[error.start]:#04x}); save the file as 'CSV UTF-8' and try again"
        ) from None


def _lines(text: str) -> list[tuple[int, list[str]]]:
    """Line number and cells of every line with something in it; cells are stripped."""
    head = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    cells = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
    return [(line, row) for line, row in cells if any(row)]


def _columns(path: Path, line: int, header: Sequence[str]) -> list[str]:
    """The column names, lower case, without empty ones at the end."""
    columns = [name.lower() for name in _without_empty_end(header)]
    if any(sorted(columns) == sorted(form) for form in FORMS):
        return columns
    known = sorted({name for form in FORMS for name in form})
    hints = []
    for name in columns:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        if name not in known:
            hints.append(f"; '{name}' is none of the columns" + (f", did you mean '{close[0]}'?" if close else ""))
    raise WsvisError(f"{path}:{line}: the first line is '{','.join(header)}', expected {FORMS_TEXT}{''.join(hints)}")


def _without_empty_end(cells: Sequence[str]) -> list[str]:
    kept = list(cells)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _row(path: Path, line: int, cells: Sequence[str], columns: Sequence[str], findings: Findings) -> LabelRow | None:
    """A row, or None when it cannot be used (then it is in the findings)."""
    where = f"{path}:{line}"
    if len(_without_empty_end(cells)) > len(columns):
        findings.error("row has more cells than the first line", f"{where}: {len(cells)}, expected {len(columns)}")
        return None
    values = dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))
    if not values["video"]:
        findings.error("row without a video", f"{where}: expected the name of a video file or a folder of frames")
        return None
    start, end = (_number(where, key, values.get(key, ""), findings) for key in ("start_frame", "end_frame"))
    if start == "wrong" or end == "wrong":
        return None
    if isinstance(start, int) and isinstance(end, int) and start > end:
        findings.error("range ends before it starts", f"{where}: {start} to {end}")
        return None
    if not values["class"] and (start is not None or end is not None):
        findings.error(
            "range without a class", f"{where}: frames outside of all ranges have no class, such a row is not needed"
        )
        return None
    if "frame" in columns and not values["frame"]:
        findings.error("row without a frame", f"{where}: expected its number, or its file name in a folder of frames")
        return None
    return LabelRow(line, values["video"], values["class"], start, end, values.get("frame"))


def _number(where: str, key: str, text: str, findings: Findings) -> int | str | None:
    """A frame number, None for an empty cell, "wrong" (and a finding) for anything else."""
    if not text:
        return None
    number = whole_number(text)
    if number is None:
        findings.error("frame number is not a whole number from 0", f"{where}: {key} is {text!r}")
        return "wrong"
    return number


def whole_number(text: str) -> int | None:
    """12 of "12" and of "12.0", as spreadsheets write it; None of anything else."""
    whole, point, rest = text.partition(".")
    if not (whole.isascii() and whole.isdigit()) or (point and rest.strip("0")):
        return None
    return int(whole)


def combine(path: Path, rows: Iterable[LabelRow], findings: Findings) -> VideoLabels:
    """The rows of one video together; `frame` cells must be numbers by now."""
    labels, first = VideoLabels(), {}
    for row in rows:
        key = (row.frame, row.start, row.end, row.name)
        if key in first:
            findings.warn("row given twice", f"{path}:{row.line}: as line {first[key]}")
        first.setdefault(key, row.line)
        if row.frame is not None:
            labels.frames = {} if labels.frames is None else labels.frames
            labels.frames.setdefault(int(row.frame), set()).update({row.name} - {""})
        elif row.start is None and row.end is None:
            labels.whole |= {row.name} - {""}
        else:
            labels.ranges.append((row.start or 0, row.end, row.name))
    named = {key[:3] for key in first if key[3]}
    for frame, start, end, name in first:
        contradicted = (frame, start, end) in named if frame is not None else bool(named)
        if not name and contradicted:
            line = first[frame, start, end, name]
            findings.error("row without a class beside rows with one", f"{path}:{line}: it says that there is none")
    return labels
