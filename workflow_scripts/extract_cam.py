"""Rule extract_cam: class activation maps of a shard of videos."""

from pathlib import Path

from wsvis_core.cam.infer import extract_cam
from wsvis_core.config import build_section
from wsvis_core.datasets.sharding import shard_videos
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.job import job, work_settings

settings = snakemake.params.settings
with job(snakemake.log[0], threads=snakemake.threads, resources=snakemake.resources) as device:
    dataset = VideoDataset.load(Path(snakemake.input.dataset).parent)
    extract_cam(
        dataset,
        shard_videos(dataset, snakemake.wildcards.shard, settings["shards"]),
        Path(snakemake.input.weights),
        Path(snakemake.output.shard),
        build_section("cam", settings["cam"]),
        long_side=build_section("stage1", settings["stage1"]).long_side,
        device=device,
        digest_of=work_settings(settings, snakemake.input),
    )
