"""Rule evaluate_pseudo_labels: pseudo-labels of training frames against ground truth (only to measure)."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.evaluation.infer import score_pseudo_labels
from wsvis_core.job import job

with job(snakemake.log[0], threads=snakemake.threads):
    score_pseudo_labels(
        VideoDataset.load(Path(snakemake.input.dataset).parent),
        [Path(path) for path in snakemake.input.labels],
        Path(snakemake.input.ground_truth),
        build_section("evaluation", snakemake.params.settings["evaluation"]),
        Path(snakemake.output.metrics),
    )
