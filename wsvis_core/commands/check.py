"""`wsvis check`: what is wrong with a configuration and its data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand to the parser of `wsvis`."""
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
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exit code of the command."""
    from wsvis_core.check import check_project

    problems = check_project(options.configfile, options.dataset)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found", file=sys.stderr)
        return 2
    print("no problem found")
    return 0
