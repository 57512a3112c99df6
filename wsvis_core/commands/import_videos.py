"""`wsvis import`: own videos and a CSV of their classes become a data set that the workflow runs on."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Container
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from wsvis_core.commands.arguments import frame_rate

if TYPE_CHECKING:
    from wsvis_core.datasets.findings import Findings


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand to the parser of `wsvis`."""
    command = commands.add_parser(
        "import",
        help="your own videos and a CSV of their classes, as a data set for the workflow",
        description="Reads mp4, mov, avi and webm files and folders of frames, keeps some frames per second of each, "
        "and writes a data set and its configuration block (docs/own_videos.md).",
    )
    command.add_argument(
        "--videos",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE|DIR",
        help="video files, folders of frames or both",
    )
    command.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="CSV",
        help="columns video,class or video,start_frame,end_frame,class or video,frame,class; frames count from 0",
    )
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder, such as data/mine")
    command.add_argument("--name", help="of the data set; default: that of the output folder")
    command.add_argument(
        "--fps",
        type=frame_rate(0.001, 1000),
        default=Fraction(6),
        help="annotated frames per second (default 6, as YouTube-VIS)",
    )
    command.add_argument(
        "--folder-fps",
        type=frame_rate(0.001, 1000),
        metavar="FPS",
        help="rate of folders of frames; default: every frame is annotated",
    )
    command.add_argument("--max-side", type=_side, metavar="PIXELS", help="reduce larger frames; default: keep them")
    command.add_argument("--jpeg-quality", type=_quality, default=95, metavar="1..100", help="default 95")
    command.add_argument(
        "--native-flow",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep the frame after each annotated one, for the paper's flow from t to t+1 (default)",
    )
    command.add_argument("--skip-unlabelled", action="store_true", help="leave out videos without a row in the CSV")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exit code of the command."""
    from wsvis_core.datasets.findings import Findings
    from wsvis_core.importing.write import ImportOptions, import_videos

    name = options.name or options.output.name
    findings = Findings()
    _check_name(name, findings)
    wanted = ImportOptions(
        options.videos,
        options.labels,
        options.output,
        name,
        fps=options.fps,
        folder_fps=options.folder_fps,
        max_side=options.max_side,
        jpeg_quality=options.jpeg_quality,
        native_flow=options.native_flow,
        skip_unlabelled=options.skip_unlabelled,
    )
    imported = import_videos(wanted, findings, say=lambda line: print(line, flush=True))
    for line in findings.warning_lines():
        print(line)
    frames = sum(len(video.indices) for video in imported)
    lost = sum(len(video.losses.entries) for video in imported)
    print(f"{options.output}: {len(imported)} videos, {frames} annotated frames; {lost} frames lost (import.json)")
    print(_next_steps(options.output / f"{name}.yaml", name))
    return 0


def _check_name(name: str, findings: Findings) -> None:
    """The name becomes a folder under results/ and a key beside the data sets of config.yaml."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        findings.error("name is not made of letters a-z, digits, '_' and '-'", f"{name!r}; give another with --name")
        return
    if name in _datasets_of_config():
        findings.error("name is that of a data set in config.yaml", f"{name!r}; give another with --name")


def _datasets_of_config() -> Container[str]:
    """Names of the data sets in config.yaml; `wsvis check` tells what is wrong with a file that cannot be read."""
    try:
        content = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
        return {str(name) for name in content["datasets"]}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return ()


def _next_steps(block: Path, name: str) -> str:
    bin_ = _typed_folder()
    wanted = f"results/{name}_vis.json results/{name}_report.html"
    return f"""
Next, in the folder of the Snakefile (settings are in {block}, with their reasons):
  {bin_}wsvis check --configfile {block} --dataset {name}
  {bin_}wsvis plan --configfile {block} --dataset {name}     # how long it will take
  {bin_}snakemake --configfile {block} --cores all --resources gpu=8 -- {wanted}
Training starts from ImageNet weights, which torchvision downloads (about 100 MB) unless *.backbone_weights name a file.
There are no masks to compare with: the report shows what came out and has no scores."""


def _typed_folder() -> str:
    """What stands before the name of a command of this environment ('.venv/bin/'); "" where it is on the path."""
    typed = Path(sys.argv[0])
    if typed.name != "wsvis" or shutil.which("wsvis"):
        return ""
    return f"{typed.parent}/"


def _side(text: str) -> int:
    return _whole(text, 16, 32768, "pixels")


def _quality(text: str) -> int:
    return _whole(text, 1, 100, "JPEG quality")


def _whole(text: str, low: int, high: int, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high} ({what})")
    return int(text)
