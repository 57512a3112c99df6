"""Rule choose_route: which tracks are published, those of the detector or those of the labels it learnt from."""

from pathlib import Path

from wsvis_core.datasets.video import VideoDataset
from wsvis_core.job import job
from wsvis_core.quality.routes import RouteFiles, choose_route

with job(snakemake.log[0], threads=snakemake.threads):
    files = zip(snakemake.params.routes, snakemake.input.tracks, snakemake.input.quality, strict=True)
    choose_route(
        VideoDataset.load(Path(snakemake.input.dataset).parent),
        {name: RouteFiles(Path(tracks), Path(quality)) for name, tracks, quality in files},
        [Path(path) for path in snakemake.input.labels],
        Path(snakemake.output.route),
    )
