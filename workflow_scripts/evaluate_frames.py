"""Rule evaluate_frames: masks of held-out frames against ground truth."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.evaluation.infer import score_frames
from wsvis_core.job import job

with job(snakemake.log[0], threads=snakemake.threads):
    score_frames(
        VideoDataset.load(Path(snakemake.input.dataset).parent),
        [Path(path) for path in snakemake.input.predictions],
        Path(snakemake.input.ground_truth),
        build_section("evaluation", snakemake.params.settings["evaluation"]),
        Path(snakemake.output.metrics),
    )
