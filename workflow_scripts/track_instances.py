"""Rule track_instances: masks per frame → tracks per video."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.job import job
from wsvis_core.tracking.infer import track_instances

with job(snakemake.log[0], threads=snakemake.threads):
    track_instances(
        VideoDataset.load(Path(snakemake.input.dataset).parent),
        [Path(path) for path in snakemake.input.predictions],
        [Path(path) for path in snakemake.input.flow],
        build_section("tracking", snakemake.params.settings["tracking"]),
        Path(snakemake.output.tracks),
    )
