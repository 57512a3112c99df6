"""quality.json (docs/quality.md has its keys), and the same as a table, worst first."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import atomic_path, read_json

FORMAT = 2
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
)


def read_quality(path: Path) -> dict[str, Any]:
    """What a quality.json holds: format, target, calibration, notes, and a list of tracks."""
    value = read_json(path, made_by=MADE_BY)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise WsvisError(f"{path} is not of format {FORMAT}; delete it and run {MADE_BY} again")
    return value


def worst_first(quality: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Its tracks, least estimate first; equal ones in their order."""
    return sorted(quality["tracks"], key=lambda track: track["estimate"])


def write_table(quality: Path, output: Path, *, route: str | None = None) -> None:
    """The tracks of a quality.json as CSV, worst first: frames count from 0, an empty cell is "not known".

    route: the segmenter whose tracks were published, where there was a choice; then it is a column of the table.
    """
    columns = COLUMNS if route is None else (*COLUMNS, "route")
    with atomic_path(output) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        rows = ({**row, "route": route} for row in worst_first(read_quality(quality)))
        writer.writerows({name: _cell(row[name]) for name in columns} for row in rows)


def _cell(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value


class TrackEstimate(NamedTuple):
    """estimate: how far a track can be trusted, 0..1 · score: its detection score, by which a track is known again."""

    estimate: float
    score: float


def read_estimates(path: Path) -> dict[tuple[int, int], TrackEstimate]:
    """(video id, track number from 1) → estimate, from a table that `write_table` wrote (rule publish_quality)."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
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
