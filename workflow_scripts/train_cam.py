"""Rule train_cam: the frame classifier."""

from pathlib import Path

from wsvis_core.cam.train import train_cam
from wsvis_core.config import build_section
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.job import job, training_run

settings = snakemake.params.settings
with job(snakemake.log[0], threads=snakemake.threads, resources=snakemake.resources) as device:
    train_cam(
        VideoDataset.load(Path(snakemake.input.dataset).parent),
        build_section("cam", settings["cam"]),
        training_run(snakemake, device),
        Path(snakemake.output.weights),
        Path(snakemake.output.records),
    )
