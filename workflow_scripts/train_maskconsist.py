"""Rule train_maskconsist: a segmenter, on pseudo-labels (round 0) or on the predictions of the round before."""

from functools import partial
from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.job import job, training_run
from wsvis_core.segmentation.train import train_maskconsist
from wsvis_core.training.processes import train_together

settings = snakemake.params.settings
cam_weights = [Path(path) for path in snakemake.input.cam_weights]
later_round = "self_training" in settings
with job(snakemake.log[0], threads=snakemake.threads, resources=snakemake.resources) as device:
    maskconsist = build_section("maskconsist", settings["maskconsist"])
    training = partial(
        train_maskconsist,
        VideoDataset.load(Path(snakemake.input.dataset).parent),
        [Path(path) for path in snakemake.input.labels],
        [Path(path) for path in snakemake.input.flow],
        cam_weights[0] if cam_weights else None,
        maskconsist,
        build_section("self_training", settings["self_training"]) if later_round else None,
        weights=Path(snakemake.output.weights),
        records=Path(snakemake.output.records),
    )
    train_together(training, training_run(snakemake, device), shares=maskconsist.accumulate)
