"""Rule evaluate_video: tracks against ground truth."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.evaluation.infer import score_tracks
from wsvis_core.job import job

with job(snakemake.log[0], threads=snakemake.threads):
    score_tracks(
        Path(snakemake.input.tracks),
        Path(snakemake.input.ground_truth),
        build_section("evaluation", snakemake.params.settings["evaluation"]),
        Path(snakemake.output.metrics),
        processes=snakemake.threads,
    )
