"""`wsvis overlay`: videos with the tracks of a result file drawn on them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsvis_core.commands.arguments import count, frame_rate
from wsvis_core.errors import WsvisError

if TYPE_CHECKING:
    from wsvis_core.datasets.video import Video, VideoDataset
    from wsvis_core.evaluation.ground_truth import GroundTruth


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand to the parser of `wsvis`."""
    command = commands.add_parser(
        "overlay",
        help="mp4 videos with the tracks of a result file drawn on the frames",
        description="Draws every track in a colour of its own, with number, class and score, and writes H.264 mp4.",
    )
    command.add_argument(
        "--results", type=Path, required=True, metavar="R.json", help="tracks in the YouTube-VIS result format"
    )
    command.add_argument(
        "--dataset", type=Path, required=True, metavar="DIR", help="what prepare_dataset wrote: results/NAME/dataset"
    )
    command.add_argument(
        "--video", nargs="+", metavar="ID", help="ids or names; default: all held-out videos and all with results"
    )
    command.add_argument(
        "--output", type=Path, required=True, metavar="DIR|FILE.mp4", help="a folder; a file for a single video"
    )
    command.add_argument(
        "--fps",
        type=frame_rate(0.1, 240),
        default=Fraction(6),
        help="frames per second (default 6: YouTube-VIS's annotations)",
    )
    command.add_argument("--min-score", type=float, default=0.0, metavar="S", help="leave weaker tracks out")
    command.add_argument("--max-tracks", type=count, metavar="N", help="only the N best tracks of a video")
    command.add_argument("--ground-truth", type=Path, metavar="GT.json", help="draw the truth beside the results")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exit code of the command."""
    from wsvis_core.evaluation.ground_truth import parse_ground_truth, read_ground_truth

    dataset = _dataset(options.dataset)
    results = _results(options.results, dataset, options.dataset)
    videos = _chosen(dataset, options.video, results)
    paths = _paths(options.output, videos)
    truth = parse_ground_truth(read_ground_truth(options.ground_truth)) if options.ground_truth else None
    if truth is not None:
        _check_truth(truth, videos, options.ground_truth)
    for video, path in zip(videos, paths, strict=True):
        # Entries of a drawn video are let go: what stays is what is still to be drawn.
        print(_overlay(dataset, video, results.pop(video.id, []), truth, path, options), flush=True)
    return 0


def _overlay(
    dataset: VideoDataset,
    video: Video,
    entries: Sequence[dict[str, Any]],
    truth: GroundTruth | None,
    path: Path,
    options: argparse.Namespace,
) -> str:
    """Write one video; the line that says what was written."""
    from wsvis_core.visualization.mp4 import write_mp4
    from wsvis_core.visualization.overlay_video import overlay_frames, result_tracks, true_tracks, whole_scale

    names = {category.id: category.name for category in dataset.categories}
    tracks = result_tracks(entries, names, min_score=options.min_score, max_tracks=options.max_tracks)
    true = None if truth is None else true_tracks(truth, video.id)
    frames = overlay_frames(lambda t: dataset.read_frame(video, t), len(video), tracks, true)
    written = write_mp4(path, frames, options.fps)
    scale = whole_scale(video.height, video.width)
    enlarged = f", frames enlarged {scale} times" if scale > 1 else ""
    return (
        f"{path}: {written.frames} frames at {float(options.fps):g} fps, {written.width}x{written.height}{enlarged}, "
        f"{len(tracks)} of {len(entries)} tracks"
    )


def _dataset(path: Path) -> VideoDataset:
    from wsvis_core.datasets.video import VideoDataset

    folder = path.parent if path.name == "videos.json" else path
    dataset = VideoDataset.load(folder)
    if not dataset.root.is_dir():
        raise WsvisError(
            f"{folder}/videos.json says that the frames lie under {dataset.root}, which is no folder seen from "
            f"{Path.cwd()}; run the command where the workflow was run"
        )
    return dataset


def _results(path: Path, dataset: VideoDataset, folder: Path) -> dict[int, list[dict[str, Any]]]:
    """Video id → its entries in the file's order; refused as a whole when anything does not fit the data set."""
    from wsvis_core.tracking.results import load_result_file, problem_report
    from wsvis_core.visualization.overlay_video import misfits

    entries = load_result_file(path)
    problems = misfits(entries, dataset)
    if problems:
        raise WsvisError(problem_report(f"result file {path}, held against data set {folder},", problems))
    by_video: dict[int, list[dict[str, Any]]] = {}
    for entry in entries:
        by_video.setdefault(entry["video_id"], []).append(entry)
    return by_video


def _chosen(dataset: VideoDataset, wanted: Sequence[str] | None, results: dict[int, Any]) -> list[Video]:
    """The videos asked for by id or name; without a wish the held-out ones and all that have results, by id."""
    if wanted is None:
        held_out = {video.id for video in dataset.split("val")}
        return [video for video in dataset.videos if video.id in held_out | set(results)]
    known = {video.name: video for video in dataset.videos} | {str(video.id): video for video in dataset.videos}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        ids = ", ".join(f"{video.id} ({video.name})" for video in dataset.videos[:10])
        more = ", …" if len(dataset.videos) > 10 else ""
        raise WsvisError(f"--video {' '.join(unknown)}: no such id or name among {len(dataset.videos)}: {ids}{more}")
    return list({known[name].id: known[name] for name in wanted}.values())


def _paths(output: Path, videos: Sequence[Video]) -> list[Path]:
    """One file per video: `output` itself when it ends in .mp4, else <id>_<name>.mp4 in that folder."""
    if output.suffix.lower() == ".mp4":
        if len(videos) != 1:
            raise WsvisError(f"--output {output} is one file, but {len(videos)} videos are to be drawn; give a folder")
        return [output]
    return [output / f"{video.id:04d}_{re.sub(r'[^A-Za-z0-9_.-]', '_', video.name)}.mp4" for video in videos]


def _check_truth(truth: GroundTruth, videos: Sequence[Video], path: Path) -> None:
    from wsvis_core.tracking.results import problem_report
    from wsvis_core.visualization.overlay_video import truth_misfit

    problems = [problem for video in videos if (problem := truth_misfit(truth, video))]
    if problems:
        raise WsvisError(problem_report(f"ground truth {path}", problems))
