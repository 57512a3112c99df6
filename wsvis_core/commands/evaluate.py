"""`wsvis evaluate`: metrics of a result file."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand to the parser of `wsvis`."""
    command = commands.add_parser(
        "evaluate",
        help="video instance segmentation metrics of a result file",
        description="Writes mAP, AP50, AP75, AR1, AR10 and more (0..1) of a YouTube-VIS result file as JSON.",
    )
    command.add_argument("--ground-truth", type=Path, required=True, metavar="GT.json")
    command.add_argument("--results", type=Path, required=True, metavar="R.json")
    command.add_argument("--output", type=Path, required=True, metavar="M.json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exit code of the command."""
    # Imported here, so that `wsvis --help` does not wait for torch.
    from wsvis_core.evaluation.ground_truth import read_ground_truth
    from wsvis_core.evaluation.video import evaluate_video_results
    from wsvis_core.storage.files import write_json
    from wsvis_core.tracking.results import load_result_file

    metrics = evaluate_video_results(read_ground_truth(options.ground_truth), load_result_file(options.results))
    write_json(options.output, metrics, indent=2)
    shown = ("mAP", "AP50", "AP75", "AR1", "AR10")
    print("  ".join(f"{name} {metrics[name]:.4f}" for name in shown))
    return 0
