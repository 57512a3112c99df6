"""The `wsvis` command. Errors of the user end with a message on stderr and exit code 2, without a traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from wsvis_core.errors import WsvisError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the `wsvis` command: 0 done, 2 wrong input or problems found by `check`."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except WsvisError as error:
        print(f"wsvis {options.command}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"wsvis {options.command}: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command and its subcommands; each sets `run`, a function of the options."""
    parser = argparse.ArgumentParser(prog="wsvis", description="Weakly supervised video instance segmentation.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _add_evaluate(commands)
    _add_check(commands)
    return parser


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "evaluate",
        help="video instance segmentation metrics of a result file",
        description="Writes mAP, AP50, AP75, AR1, AR10 and more (0..1) of a YouTube-VIS result file as JSON.",
    )
    command.add_argument("--ground-truth", type=Path, required=True, metavar="GT.json")
    command.add_argument("--results", type=Path, required=True, metavar="R.json")
    command.add_argument("--output", type=Path, required=True, metavar="M.json")
    command.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
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


def _add_check(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "check",
        help="find what is wrong with a configuration and its data before any job runs",
        description="Checks the configuration, the data set and the tools, and lists all findings.",
    )
    command.add_argument(
        "--configfile",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="merged over config.yaml, in order; may be repeated",
    )
    command.add_argument("--dataset", help="check only this data set of the configuration")
    command.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from wsvis_core.check import check_project

    problems = check_project(options.configfile, options.dataset)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found", file=sys.stderr)
        return 2
    print("no problem found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
