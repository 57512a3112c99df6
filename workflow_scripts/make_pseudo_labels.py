"""Rule make_pseudo_labels: stage-1 instances of a shard of videos."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.sharding import shard_videos
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.job import job, work_settings
from wsvis_core.labellers.build import LabellerParts, build_labeller
from wsvis_core.labellers.infer import make_pseudo_labels

settings = snakemake.params.settings
weights = [Path(path) for path in snakemake.input.weights]
with job(snakemake.log[0], threads=snakemake.threads, resources=snakemake.resources) as device:
    dataset = VideoDataset.load(Path(snakemake.input.dataset).parent)
    pseudo_labels = build_section("pseudo_labels", settings["pseudo_labels"])
    parts = LabellerParts(
        dataset,
        weights[0] if weights else None,
        Path(snakemake.input.cams),
        Path(snakemake.input.flow),
        pseudo_labels,
        build_section("flowirn", settings["flowirn"]),
        build_section("f_cam", settings["f_cam"]),
        build_section("stage1", settings["stage1"]).irnet_scale,
        device,
    )
    make_pseudo_labels(
        build_labeller(parts),
        shard_videos(dataset, snakemake.wildcards.shard, settings["shards"]),
        Path(snakemake.output.shard),
        max_cover=pseudo_labels.max_cover,
        threads=snakemake.threads,
        digest_of=work_settings(settings, snakemake.input),
    )
