"""What an import will do, checked as a whole before anything is decoded: videos, their labels, the classes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from wsvis_core.datasets.findings import Findings
from wsvis_core.errors import WsvisError
from wsvis_core.importing.label_table import LabelRow, VideoLabels, combine, read_label_table, whole_number
from wsvis_core.importing.native_frames import Probe, UnusableVideoError, probe
from wsvis_core.importing.sources import Source, find_sources, match_name, nearest_name


@dataclass(frozen=True)
class PlannedVideo:
    """A video that can be opened, with what the CSV says of its frames."""

    source: Source
    probe: Probe
    labels: VideoLabels


def plan_import(
    given: Sequence[Path], table: Path, findings: Findings, *, folder_fps: Fraction | None, skip_unlabelled: bool
) -> list[PlannedVideo]:
    """The videos to import in the order they are given; all that is wrong with files and labels goes to `findings`."""
    sources = find_sources(given, findings)
    try:
        rows = read_label_table(table, findings)
    except WsvisError as error:
        findings.error("label file cannot be used", str(error))
        rows = []
    rows_of = _assign(table, rows, sources, findings) if sources else {}
    planned = []
    for source in sources:
        labelled = source.path in rows_of
        if not labelled and skip_unlabelled:
            findings.warn("video without a row in the label file, left out", str(source.path))
            continue
        if not labelled and rows:
            findings.error(
                "video without a row in the label file (one with an empty class says that it shows none of the classes;"
                " --skip-unlabelled leaves such videos out)",
                str(source.path),
            )
        try:
            known = probe(source, folder_fps)
        except UnusableVideoError as error:
            findings.error(error.kind, str(error))
            continue
        for note in known.notes:
            findings.warn(note, str(source.path))
        planned.append(
            PlannedVideo(source, known, _labels(table, rows_of.get(source.path, []), source, known, findings))
        )
    _note_classes(planned, findings)
    return planned


def _assign(
    table: Path, rows: Sequence[LabelRow], sources: Sequence[Source], findings: Findings
) -> dict[Path, list[LabelRow]]:
    """The rows of every source, by its path."""
    found: dict[Path, list[LabelRow]] = {}
    rows_of_name: dict[str, list[LabelRow]] = {}
    for row in rows:
        rows_of_name.setdefault(row.video, []).append(row)
    for name, named in rows_of_name.items():
        matches = match_name(name, sources)
        where = f"{table}:{named[0].line}"
        if not matches:
            near = nearest_name(name, sources)
            hint = f", did you mean {near!r}?" if near else ""
            findings.error("label file names a video that is not there", f"{where}: {name!r} ({len(named)} rows){hint}")
        elif len(matches) > 1:
            paths = ", ".join(str(source.path) for source in matches)
            findings.error(
                "label file names several videos at once", f"{where}: {name!r} may be {paths}; write the path"
            )
        else:
            found.setdefault(matches[0].path, []).extend(named)
    return found


def _labels(table: Path, rows: Sequence[LabelRow], source: Source, known: Probe, findings: Findings) -> VideoLabels:
    """The rows of one video together, its frames by number; frames it does not have go to the findings."""
    by_file = {path.name: n for path, n in zip(source.images or (), _numbers(known), strict=False)}
    by_file |= {Path(name).stem: n for name, n in by_file.items() if whole_number(Path(name).stem) is None}
    numbered = []
    for row in rows:
        named = row if row.frame is None else replace(row, frame=str(by_file.get(row.frame, row.frame)))
        number = None if named.frame is None else whole_number(named.frame)
        mentioned = [n for n in (row.start, row.end, number) if n is not None]
        outside = [n for n in mentioned if n > known.last or (number is not None and not known.has(n))]
        if row.frame is not None and number is None:
            findings.error("label file names a frame that is not there", f"{table}:{row.line}: {row.frame!r}")
        elif outside:
            findings.error(
                "label file names a frame that is not there",
                f"{table}:{row.line}: frame {outside[0]} of {source.name}, which has {known.first} to {known.last}",
            )
        else:
            numbered.append(named if number is None else replace(named, frame=str(number)))
    return combine(table, numbered, findings)


def _numbers(known: Probe) -> Sequence[int]:
    return range(known.frames) if known.numbers is None else known.numbers


def _note_classes(planned: Sequence[PlannedVideo], findings: Findings) -> None:
    """Classes that little can be learnt of, and names that look like one class in two spellings."""
    videos_of: dict[str, list[str]] = {}
    for video in planned:
        for name in video.labels.names():
            videos_of.setdefault(name, []).append(video.source.name)
    spellings: dict[str, str] = {}
    for name in sorted(videos_of):
        other = spellings.setdefault(name.casefold(), name)
        if other != name:
            findings.warn("two classes that differ in capital letters alone (are they one?)", f"{other!r} and {name!r}")
    for name, shown in sorted(videos_of.items()):
        if len(shown) == 1:
            near = difflib.get_close_matches(name, sorted(videos_of.keys() - {name}), 1, cutoff=0.66)
            findings.warn(
                "class with one video (its background tells it as well as the object does)",
                f"{name!r}: {shown[0]}" + (f"; or is it the class {near[0]!r}?" if near else ""),
            )
    if planned and not videos_of and not findings.errors:
        findings.error(
            "no row of the label file has a class",
            "name what each video shows; without, there is nothing to learn from",
        )


def class_ids(planned: Sequence[PlannedVideo]) -> Mapping[str, int]:
    """Category ids from 1, in alphabetical order of the names."""
    names = sorted(set().union(*(video.labels.names() for video in planned)))
    return {name: number for number, name in enumerate(names, 1)}
