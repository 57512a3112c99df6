"""Rule estimate_quality: how far each track can be trusted, without ground truth."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.job import job
from wsvis_core.quality.infer import estimate_quality

with job(snakemake.log[0], threads=snakemake.threads):
    estimate_quality(
        VideoDataset.load(Path(snakemake.input.dataset).parent),
        Path(snakemake.input.tracks),
        [Path(path) for path in snakemake.input.flow],
        [Path(path) for path in snakemake.input.before],
        build_section("quality", snakemake.params.settings["quality"]),
        Path(snakemake.output.quality),
    )
