"""`wsvis identity`: where tracks of a result file change objects or break off."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand to the parser of `wsvis`."""
    command = commands.add_parser(
        "identity",
        help="identity switches and fragmentations of a result file, and where they are",
        description="Matches tracks and true objects frame by frame (CLEAR MOT, IoU >= 0.5) and lists every switch.",
    )
    command.add_argument(
        "--ground-truth", type=Path, required=True, metavar="GT.json", help="annotations in the YouTube-VIS format"
    )
    command.add_argument(
        "--results", type=Path, required=True, metavar="R.json", help="tracks in its result format, any program's"
    )
    command.add_argument("--min-score", type=float, default=0.0, metavar="S", help="leave weaker tracks out")
    command.add_argument("--output", type=Path, metavar="I.json", help="the whole report as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exit code of the command."""
    from wsvis_core.evaluation.ground_truth import read_ground_truth
    from wsvis_core.evaluation.identity import identity_report
    from wsvis_core.storage.files import write_json
    from wsvis_core.tracking.results import load_result_file

    results = load_result_file(options.results)
    report = identity_report(read_ground_truth(options.ground_truth), results, min_score=options.min_score)
    if options.output:
        write_json(options.output, report, indent=2)
    print("\n".join(_lines(report)))
    return 0


def _lines(report: dict[str, Any]) -> list[str]:
    """The counts of each video, under it its switches and fragmentations; the sums last."""
    lines = []
    for video in report["videos"]:
        lines.append(f"video {video['video_id']}: {_counts(video)}")
        lines += [
            f"  frame {s['frame']}: object {s['truth']} from track {s['before']} to {s['after']}"
            f" (categories {s['before_category']}, {s['after_category']}; last found in frame {s['last_frame']})"
            for s in video["switched"]
        ]
        lines += [
            f"  frame {gap['frame']}: object {gap['truth']} is lost until frame {gap['resumed']}"
            for gap in video["fragmented"]
        ]
    return [*lines, f"{len(report['videos'])} videos: {_counts(report)}"]


def _counts(row: dict[str, Any]) -> str:
    return (
        f"{row['switches']} switches ({row['class_switches']} to another class), "
        f"{row['fragmentations']} fragmentations, found {row['matched']} of {row['visible']} times"
    )
