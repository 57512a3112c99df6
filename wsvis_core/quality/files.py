"""quality.json (docs/quality.md has its keys), and the same as a table, worst first."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import atomic_path, read_json

FORMAT = 3
MADE_BY = "rule estimate_quality"
COLUMNS = (
    "video",
    "track",
    "class",
    "estimate",
    "score",
    "labels",
    "stability",
    "agreement",
    "cover",
    "first_frame",
    "last_frame",
    "frames",
    "weakest_frame",
    "video_id",
    "note",
)
NOT_FOUND = "not found"
MOST_RANGES = 3


def read_quality(path: Path) -> dict[str, Any]:
    """What a quality.json holds: format, target, calibration, notes, a list of tracks and one of classes not found."""
    value = read_json(path, made_by=MADE_BY)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise WsvisError(f"{path} is not of format {FORMAT}; delete it and run {MADE_BY} again")
    return value


def worst_first(quality: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Its tracks, least estimate first; equal ones in their order."""
    return sorted(quality["tracks"], key=lambda track: track["estimate"])


def write_table(quality: Path, output: Path, *, route: str | None = None) -> None:
    """The tracks of a quality.json as CSV, worst first: frames count from 0, an empty cell is "not known".

    Before them the classes that were labelled and not found: no track, no estimate, and the note says so. route: the
    segmenter whose tracks were published, where there was a choice; then it is a column of the table.
    """
    columns = COLUMNS if route is None else (*COLUMNS, "route")
    found = read_quality(quality)
    rows = [*map(_row_of_missing, found["not_found"]), *worst_first(found)]
    with atomic_path(output) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell({**row, "route": route}.get(name)) for name in columns} for row in rows)


def _cell(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value


def _row_of_missing(missing: Mapping[str, Any]) -> dict[str, Any]:
    """A class without a track, from its first to its last labelled frame."""
    first, last = missing["labelled"][0][0], missing["labelled"][-1][-1]
    return {**missing, "first_frame": first, "last_frame": last, "frames": 0, "note": NOT_FOUND}


def frames_in_words(ranges: Sequence[Sequence[int]]) -> str:
    """Ranges of frames, both ends in them: "frames 0 to 3, 8", of many the first."""
    named = [str(first) if first == last else f"{first} to {last}" for first, last in ranges[:MOST_RANGES]]
    only = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
    return f"frame{'' if only else 's'} {', '.join(named)}{' …' if len(ranges) > MOST_RANGES else ''}"


class TrackEstimate(NamedTuple):
    """estimate: how far a track can be trusted, 0..1 · score: its detection score, by which a track is known again."""

    estimate: float
    score: float


def read_estimates(path: Path) -> dict[tuple[int, int], TrackEstimate]:
    """(video id, track number from 1) → estimate, from a table that `write_table` wrote (rule publish_quality)."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row.get("note") != NOT_FOUND]
        return {
            (int(row["video_id"]), int(row["track"])): TrackEstimate(float(row["estimate"]), float(row["score"]))
            for row in rows
        }
    except FileNotFoundError:
        raise WsvisError(f"{path} does not exist; it is made by rule publish_quality") from None
    except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise WsvisError(
            f"{path} is not a table of qualities: it needs columns video_id, track, estimate and score with numbers "
            f"({error}); give the results/<dataset>_quality.csv of the same run"
        ) from None
