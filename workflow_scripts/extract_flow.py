"""Rule extract_flow: optical flow of a shard of videos."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.sharding import shard_videos
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.flow.infer import extract_flow
from wsvis_core.job import job, work_settings

settings = snakemake.params.settings
with job(snakemake.log[0], threads=snakemake.threads):
    dataset = VideoDataset.load(Path(snakemake.input.dataset).parent)
    extract_flow(
        dataset,
        shard_videos(dataset, snakemake.wildcards.shard, settings["shards"]),
        Path(snakemake.output.shard),
        build_section("flow", settings["flow"]),
        digest_of=work_settings(settings, snakemake.input),
    )
