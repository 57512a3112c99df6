"""`wsvis plan`: jobs, work, disk and hours of a run, or of what an edit would rerun, before any job starts."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from wsvis_core.commands.arguments import count


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand to the parser of `wsvis`."""
    command = commands.add_parser(
        "plan",
        help="what a run would do and cost: jobs, frames, disk, hours per stage",
        description="Per stage: all jobs, those that would run now, and what these cost in disk and hours. After an "
        "edit of the configuration it shows what the edit reruns. Start it in the folder of the Snakefile.",
    )
    command.add_argument("--dataset", required=True, help="a data set of the configuration")
    command.add_argument(
        "--configfile",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="merged over config.yaml, in order; may be repeated",
    )
    command.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="PATH",
        help="results to plan for; results/<dataset>_vis.json and the report otherwise; may be repeated",
    )
    size = command.add_argument_group("size of a data set that is not there yet")
    size.add_argument("--videos", type=count, metavar="N", help="of the data set, training and held-out ones")
    size.add_argument("--frames", type=count, metavar="N", help="annotated frames of all videos together")
    size.add_argument("--frame-size", type=_frame_size, metavar="WxH", help="pixels, for example 1280x720")
    command.set_defaults(run=run)


def _frame_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT in pixels, like 1280x720, not '{text}'")
    return int(found[1]), int(found[2])


def run(options: argparse.Namespace) -> int:
    """Exit code of the command."""
    from wsvis_core.check import load_config
    from wsvis_core.errors import WsvisError
    from wsvis_core.planning.jobs import planned_jobs
    from wsvis_core.planning.plan import make_plan, plan_lines
    from wsvis_core.planning.size import data_size, stated_size

    config = load_config(list(dict.fromkeys([Path("config.yaml"), *options.configfile])))
    name = options.dataset
    config.section("pipeline", name)
    stated = None
    parts = (options.videos, options.frames, options.frame_size)
    if any(part is not None for part in parts):
        if any(part is None for part in parts):
            raise WsvisError("a stated size needs all of --videos, --frames and --frame-size")
        width, height = options.frame_size
        stated = stated_size(config.datasets[name], options.videos, options.frames, height, width)
    data_size(config, name, Path("results"), stated)  # the likeliest mistake first: Snakemake takes seconds
    jobs = planned_jobs(
        name, options.target or [f"results/{name}_vis.json", f"results/{name}_report.html"], options.configfile
    )
    size = {each: data_size(config, each, Path("results"), stated) for each in sorted({j.work.dataset for j in jobs})}
    print("\n".join(plan_lines(make_plan(config, jobs, size, Path("logs")))))
    return 0
