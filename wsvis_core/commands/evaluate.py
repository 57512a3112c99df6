"""`wsvis evaluate`: metrics of a result file, and whether another one is better."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsvis_core.commands.arguments import count

SHOWN = ("mAP", "AP50", "AP75", "AR1", "AR10")


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand to the parser of `wsvis`."""
    command = commands.add_parser(
        "evaluate",
        help="video instance segmentation metrics of a result file",
        description="Writes mAP, AP50, AP75, AR1, AR10 and more (0..1) of a YouTube-VIS result file as JSON, with "
        "confidence intervals over videos, and compares it with another file (docs/evaluation.md).",
    )
    command.add_argument(
        "--ground-truth", type=Path, required=True, metavar="GT.json", help="annotations in the YouTube-VIS format"
    )
    command.add_argument(
        "--results", type=Path, required=True, metavar="R.json", help="tracks in its result format, any program's"
    )
    command.add_argument("--output", type=Path, required=True, metavar="M.json", help="all metrics as JSON")
    command.add_argument("--compare", type=Path, metavar="OTHER.json", help="results that may be better than R.json")
    command.add_argument(
        "--bootstrap", type=_whole, default=1000, metavar="N", help="draws of videos for intervals; 0: none (1000)"
    )
    command.add_argument("--confidence", type=_share, default=0.95, help="share of the draws in an interval (0.95)")
    command.add_argument("--seed", type=_whole, default=0, help="of the draws (0)")
    command.add_argument("--per-category", action="store_true", help="print a line per category too")
    command.add_argument("--curves", type=Path, metavar="C.csv", help="write precision over recall, .csv or .json")
    command.add_argument(
        "--processes",
        type=count,
        metavar="N",
        help="that read the results; the metrics do not depend on it (all cores)",
    )
    command.set_defaults(run=run)


def _whole(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def run(options: argparse.Namespace) -> int:
    """Exit code of the command."""
    # Imported here, so that `wsvis --help` does not wait for numpy.
    from wsvis_core.evaluation.bootstrap import Bootstrap
    from wsvis_core.evaluation.curves import check_curves_path, write_curves
    from wsvis_core.evaluation.result_files import usable_cores
    from wsvis_core.evaluation.scoring import compare_scores, score_result_files
    from wsvis_core.storage.files import write_json

    if options.curves:
        check_curves_path(options.curves)
    settings = Bootstrap(options.bootstrap, options.confidence, options.seed)
    files = [path for path in (options.results, options.compare) if path]
    scores = score_result_files(options.ground_truth, files, settings, processes=options.processes or usable_cores())
    metrics = scores[0].metrics
    if options.compare:
        names = {"a": str(options.results), "b": str(options.compare)}
        metrics = metrics | {"comparison": names | compare_scores(scores[0], scores[1], settings)}
    write_json(options.output, metrics, indent=2)
    if options.curves:
        write_curves(options.curves, metrics["precision_recall"])
    print("\n".join(_report(metrics, settings.confidence, per_category=options.per_category)))
    return 0


def _report(metrics: Mapping[str, Any], confidence: float, *, per_category: bool) -> list[str]:
    """The lines to print: metrics or their comparison, of the whole and of every category."""
    percent = f"{100 * confidence:g} % interval"
    whole = metrics.get("comparison")
    if whole:
        groups = [("", whole["metrics"])]
        groups += [(row["name"], row["metrics"]) for row in whole["per_category"]] if per_category else []
        head = ["", "A", "B", "B - A", percent, "B better in"]
        rows = [[f"{group} {name}".strip(), *_compared(found[name])] for group, found in groups for name in SHOWN]
    else:
        groups = [("", metrics)] + ([(row["name"], row) for row in metrics["per_category"]] if per_category else [])
        head = ["", "", percent if "intervals" in metrics else ""]
        rows = [
            [f"{group} {name}".strip(), _number(found[name]), _interval(found.get("intervals", {}).get(name))]
            for group, found in groups
            for name in SHOWN
        ]
    return _aligned([head, *rows])


def _compared(row: Mapping[str, Any]) -> list[str]:
    if row["difference"] is None:
        return ["-"] * 5
    share = "-" if row["share_b_better"] is None else f"{100 * row['share_b_better']:.1f} %"
    return [_number(row["a"]), _number(row["b"]), f"{row['difference']:+.4f}", _interval(row["interval"], "+"), share]


def _number(value: float) -> str:
    return "-" if value < 0 else f"{value:.4f}"


def _interval(bounds: Sequence[float] | None, sign: str = "") -> str:
    return "" if bounds is None else f"{bounds[0]:{sign}.4f} to {bounds[1]:{sign}.4f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [line for line in lines if line]
