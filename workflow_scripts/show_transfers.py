"""Rule show_transfers: a few training pairs with the labels that a trained segmenter moves between their frames."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.job import job
from wsvis_core.visualization.show_transfers import show_transfers

settings = snakemake.params.settings
later_round = "self_training" in settings
with job(snakemake.log[0], threads=snakemake.threads, resources=snakemake.resources) as device:
    show_transfers(
        VideoDataset.load(Path(snakemake.input.dataset).parent),
        [Path(path) for path in snakemake.input.labels],
        [Path(path) for path in snakemake.input.flow],
        Path(snakemake.input.weights),
        build_section("maskconsist", settings["maskconsist"]),
        build_section("self_training", settings["self_training"]) if later_round else None,
        build_section("report", settings["report"]),
        Path(snakemake.output.transfers),
        seed=settings["seed"],
        device=device,
    )
