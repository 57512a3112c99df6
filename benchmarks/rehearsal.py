"""A rehearsal of YouTube-VIS 2019 at full size: python -m benchmarks.rehearsal FOLDER (Linux, about 6 GB of disk).

Generates sets of 720, 1,441 and 2,883 videos in the layout of YouTube-VIS (benchmarks/rehearsal_set.py), dry-runs the
whole pipeline on the largest, and runs every stage that needs no trained network on all videos of each set, in a
process of its own: the peak of its memory shows what grows with the number of videos. Predictions are made of the
annotation. FOLDER must not exist. Arguments after FOLDER choose among `dry`, `stages`; without any, both are done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.rehearsal_set import VIDEOS, length_of, things_of, write_set
from benchmarks.rehearsal_workflow import EDITS, NAME, pretend_done, snakemake

SIZES = {"1/4": VIDEOS // 4, "1/2": VIDEOS // 2, "full": VIDEOS}
STAGES = (
    "prepare_dataset",
    "splits",
    "extract_flow",
    "predictions",
    "track_instances",
    "evaluate_video",
    "evaluate_frames",
    "evaluate_consistency",
    "evaluate_pseudo_labels",
)


def main(folder: Path, parts: list[str]) -> None:
    """Print Markdown tables."""
    folder = folder.absolute()
    places = {name: folder / "data" / (NAME if name == "full" else str(videos)) for name, videos in SIZES.items()}
    for name, place in places.items():
        if not place.exists():
            print(f"generating {SIZES[name]} videos in {place}", file=sys.stderr, flush=True)
            write_set(place, SIZES[name], folder / "pictures")
    if not parts or "dry" in parts:
        print_dry_runs(folder)
    if not parts or "stages" in parts:
        print_stages(folder, places)


def print_dry_runs(folder: Path) -> None:
    """The pipeline on a machine where nothing was made yet, and after a finished run with one setting changed."""
    first = snakemake(folder, "-n")
    print(
        f"Dry-run of the whole pipeline: {sum(first.jobs.values())} jobs, {first.seconds:.1f} s ({first.cpu:.1f} CPU)."
    )
    print(f"Jobs: {_listed(first.jobs)}.\n")
    pretend_done(folder)
    print("| edit after a finished run | jobs | dry-run, s (CPU) | which |")
    print("|---|---|---|---|")
    for name, edit in {"none": {}, **EDITS}.items():
        run = snakemake(folder, "-n", edit=edit)
        total = sum(run.jobs.values())
        print(f"| `{name}` | {total} | {run.seconds:.1f} ({run.cpu:.1f}) | {_listed(run.jobs)} |", flush=True)
    print()


def _listed(jobs: dict[str, int]) -> str:
    return ", ".join(f"{rule} {count}" if count > 1 else rule for rule, count in jobs.items() if rule != "total")


def print_stages(folder: Path, places: dict[str, Path]) -> None:
    """Frames per CPU second at full size, and the peak memory at each size beyond what the imports take."""
    frames = {name: sum(length_of(video) for video in range(1, count + 1)) for name, count in SIZES.items()}
    tracks = sum(len(things_of(video)) for video in range(1, VIDEOS + 1))
    print(f"{VIDEOS} videos, {frames['full']} frames, {tracks} tracks.\n")
    print("| stage | seconds (CPU) | frames per CPU second | peak MB 1/4, 1/2, full | kB per video |")
    print("|---|---|---|---|---|")
    for stage in STAGES:
        found = {name: run_stage(stage, folder / "runs" / str(SIZES[name]), place) for name, place in places.items()}
        peaks = {name: one["peak_mb"] - one["imported_mb"] for name, one in found.items()}
        growth = 1000 * (peaks["full"] - peaks["1/4"]) / (SIZES["full"] - SIZES["1/4"])
        full = found["full"]
        print(
            f"| {stage} | {full['seconds']:.0f} ({full['cpu']:.0f}) | {frames['full'] / full['cpu']:.0f} | "
            f"{', '.join(f'{peak:.0f}' for peak in peaks.values())} | {growth:.1f} |",
            flush=True,
        )


def run_stage(stage: str, work: Path, place: Path) -> dict[str, float]:
    """Seconds, CPU seconds and peak MB of a stage on one set."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "set").exists():
        (work / "set").symlink_to(place)
    command = [sys.executable, "-m", "benchmarks.rehearsal_stages", stage, str(work)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WSVIS_DEVICE": "cpu"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
