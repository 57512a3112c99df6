"""Rule make_label_maps: CAM → inter-pixel relation labels of a shard of videos."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.sharding import shard_videos
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.flowirn.label_map_shards import make_label_maps
from wsvis_core.job import job, work_settings

settings = snakemake.params.settings
with job(snakemake.log[0], threads=snakemake.threads):
    dataset = VideoDataset.load(Path(snakemake.input.dataset).parent)
    make_label_maps(
        dataset,
        shard_videos(dataset, snakemake.wildcards.shard, settings["shards"]),
        Path(snakemake.input.cams),
        Path(snakemake.input.flow),
        Path(snakemake.output.shard),
        build_section("label_maps", settings["label_maps"]),
        build_section("f_cam", settings["f_cam"]),
        threads=snakemake.threads,
        digest_of=work_settings(settings, snakemake.input),
    )
