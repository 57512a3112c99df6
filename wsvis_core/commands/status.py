"""`wsvis status`: where a run stands, from another shell."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand to the parser of `wsvis`."""
    command = commands.add_parser(
        "status",
        help="where a run stands: jobs per stage, what runs now and how far, what failed and why",
        description="Reads what runs leave in .snakemake and logs; it changes nothing and needs no Snakemake. "
        "Exit code: 0 done, 3 running, 4 failed, 5 stopped or interrupted, 6 nothing has run, 2 wrong input.",
    )
    command.add_argument(
        "path",
        type=Path,
        nargs="?",
        metavar="PATH",
        help="results/DATASET or anything below it, results/DATASET_vis.json, or the name; all data sets otherwise",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exit code of the command."""
    import shutil
    import time

    from wsvis_core.monitor.status import exit_code, find_status, place_of, status_lines

    project, dataset = place_of(options.path)
    now = time.time()
    found = find_status(project, dataset, now)
    width = shutil.get_terminal_size((100, 24)).columns
    pages = ["\n".join(status_lines(status, project, now, width)) for status in found]
    nothing = f"no run is recorded in {project.absolute()}; start in the folder where Snakemake works"
    print("\n\n".join(pages) or nothing)
    return exit_code(found)
