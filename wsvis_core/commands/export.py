"""`wsvis export`: a result file in the format of another tool."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsvis_core.errors import WsvisError

FORMATS = {
    "ytvis": "results.json and results.zip for the YouTube-VIS server",
    "coco": "instances.json and results.json with one image per frame",
    "mots": "PNG id maps, class id · 1000 + instance",
    "mots-txt": "the same as text with RLE masks",
    "cvat": "CVAT for video 1.1 XML, a polygon track per object",
}


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand to the parser of `wsvis`."""
    command = commands.add_parser(
        "export",
        help="a result file as YouTube-VIS, COCO, MOTS or CVAT files",
        description="Writes the tracks of a result file in the format of another tool: "
        + "; ".join(f"{name}: {text}" for name, text in FORMATS.items())
        + ".",
    )
    command.add_argument("--format", choices=FORMATS, required=True, help="what to write")
    command.add_argument(
        "--results", type=Path, required=True, metavar="R.json", help="tracks in the YouTube-VIS result format"
    )
    command.add_argument(
        "--dataset",
        type=Path,
        required=True,
        metavar="DIR|GT.json",
        help="what prepare_dataset wrote (results/NAME/dataset), or a YouTube-VIS annotation file",
    )
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="a folder that is not there yet")
    command.add_argument(
        "--video",
        nargs="+",
        metavar="ID",
        help="ids or names; default: all of an annotation file; of a prepared data set the held-out ones and all with "
        "results",
    )
    command.add_argument("--min-score", type=float, metavar="S", help="leave weaker tracks out")
    command.add_argument(
        "--quality",
        type=Path,
        metavar="Q.csv",
        help="results/NAME_quality.csv of the same run: how far each track can be trusted, for COCO and CVAT files",
    )
    command.add_argument(
        "--min-quality", type=float, metavar="P", help="with --quality: leave out tracks that are less likely right"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exit code of the command."""
    from wsvis_core.export.coco import write_coco
    from wsvis_core.export.cvat import write_cvat
    from wsvis_core.export.mots import write_mots_png, write_mots_text
    from wsvis_core.export.source import load_source
    from wsvis_core.export.ytvis import write_ytvis
    from wsvis_core.storage.folder import whole_folder

    writers = {
        "ytvis": write_ytvis,
        "coco": write_coco,
        "mots": write_mots_png,
        "mots-txt": write_mots_text,
        "cvat": write_cvat,
    }
    if options.min_quality is not None and options.quality is None:
        raise WsvisError("--min-quality needs the table to look in: add --quality results/NAME_quality.csv")
    source = load_source(
        options.results,
        options.dataset,
        videos=options.video,
        min_score=options.min_score,
        quality=options.quality,
        min_quality=options.min_quality,
    )
    with whole_folder(options.output) as folder:
        written = writers[options.format](source, folder)
    left_out = f"; {source.left_out} tracks without a mask left out" if source.left_out else ""
    print(f"{options.output}: {written}{left_out}")
    return 0
