"""Fits and judges the quality estimate on results that have ground truth.

    python -m benchmarks.track_quality FOLDER… [--output calibration.json]

Each FOLDER is `results/<data set>/<labeller>/<segmenter>/round-N/<tracker>` with tracks.json and quality.json, whose
own estimates are not looked at. Prints what the parts and their combinations are worth when fitted on all data sets but
the one they are judged on, and writes the coefficients fitted on all: name the file in `quality.calibration`. With one
data set there is nothing to leave out, and the figures are of the fit itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsvis_core.quality.calibration import Calibration, fit_calibration, write_calibration
from wsvis_core.quality.evaluate import right_tracks
from wsvis_core.quality.files import read_quality
from wsvis_core.quality.parts import PARTS
from wsvis_core.quality.reliability import auc, brier, calibration_error, reliability_bins
from wsvis_core.storage.files import read_json

# What is compared; a track without stability gets the model without it.
CANDIDATES = (
    ("score",),
    ("score", "stability"),
    ("score", "labels"),
    ("score", "labels", "stability"),
    ("score", "labels", "stability", "agreement"),
)


@dataclass(frozen=True)
class Tracks:
    """Tracks of one folder: their known parts, and which of them are right."""

    dataset: str
    variant: str
    parts: list[dict[str, float]]
    right: np.ndarray


def main(arguments: Sequence[str] | None = None) -> None:
    """Print Markdown tables; write the calibration where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="…/round-N/<tracker>")
    parser.add_argument("--output", type=Path, help="file of coefficients to write")
    options = parser.parse_args(arguments)
    tracks = [read_tracks(folder) for folder in options.folders]
    print_combinations(tracks)
    print_variants(tracks)
    if options.output:
        write_calibration(options.output, fit(tracks))


def read_tracks(folder: Path) -> Tracks:
    """The tracks of a folder `results/<data set>/<labeller>/<segmenter>/round-N/<tracker>`."""
    labeller, segmenter, number, tracker = folder.absolute().parts[-4:]
    dataset = folder.absolute().parents[3]
    rows = read_quality(folder / "quality.json")["tracks"]
    parts = [{name: row[name] for name in PARTS if row[name] is not None} for row in rows]
    truth = read_json(dataset / "dataset/ground_truth_val.json", made_by="rule prepare_dataset")
    variant = f"{labeller}, {segmenter}, {number}, {tracker}"
    return Tracks(dataset.name, variant, parts, right_tracks(folder / "tracks.json", truth))


def fit(tracks: Sequence[Tracks], used: Sequence[str] = ("score", "labels", "stability")) -> Calibration:
    """A model of the parts used, and one for tracks that lack stability or agreement."""
    parts = [known for some in tracks for known in some.parts]
    right = [bool(value) for some in tracks for value in some.right]
    about = {
        "data_sets": sorted({some.dataset for some in tracks}),
        "variants": sorted({some.variant for some in tracks}),
        "tracks": len(right),
        "right_tracks": sum(right),
    }
    fewer = [name for name in used if name in ("score", "labels")]
    return fit_calibration(parts, right, about, used=list(dict.fromkeys([tuple(used), tuple(fewer)])))


def held_out(tracks: Sequence[Tracks], used: Sequence[str], judged: Sequence[Tracks]) -> dict[str, list[float]]:
    """AUC, Brier and calibration error of every data set in `judged`, fitted on the tracks of all others."""
    found: dict[str, list[float]] = {"AUC": [], "Brier": [], "ECE": []}
    for dataset in sorted({some.dataset for some in judged}):
        others = [some for some in tracks if some.dataset != dataset] or list(tracks)
        calibration = fit(others, used)
        own = [some for some in judged if some.dataset == dataset]
        estimates = np.array([calibration.estimate(known) for some in own for known in some.parts])
        right = np.concatenate([some.right for some in own])
        values = (auc(estimates, right), brier(estimates, right), calibration_error(reliability_bins(estimates, right)))
        for name, value in zip(found, values, strict=True):
            found[name].append(np.nan if value is None else value)
    return found


def print_combinations(tracks: Sequence[Tracks]) -> None:
    """What combinations of parts are worth; agreement on the tracks that have it."""
    with_agreement = [some for some in tracks if any("agreement" in known for known in some.parts)]
    for title, some, candidates in (
        ("all tracks", tracks, CANDIDATES[:-1]),
        ("tracks with a round before", with_agreement, CANDIDATES),
    ):
        if some:
            print(f"\n| {title}: {sum(len(t.parts) for t in some)} | AUC | Brier | ECE |\n|---|---|---|---|")
            for used in candidates:
                print(f"| {', '.join(used)} | {_cells(held_out(some, used, some))} |")


def print_variants(tracks: Sequence[Tracks]) -> None:
    """What one calibration of all variants is worth on each of them."""
    print("\n| variant | tracks | right | AUC | Brier | ECE | AUC of the score |\n|---|---|---|---|---|---|---|")
    for variant in dict.fromkeys(some.variant for some in tracks):
        own = [some for some in tracks if some.variant == variant]
        right = np.concatenate([some.right for some in own])
        found = held_out(tracks, ("score", "labels", "stability"), own)
        alone = held_out(tracks, ("score",), own)
        head = f"| {variant} | {len(right)} | {int(right.sum())}"
        print(f"{head} | {_cells(found)} | {_mean_and_spread(alone['AUC'])} |")


def _cells(found: dict[str, list[float]]) -> str:
    return " | ".join(_mean_and_spread(values) for values in found.values())


def _mean_and_spread(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
