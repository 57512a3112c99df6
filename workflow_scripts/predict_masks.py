"""Rule predict_masks: detections of a trained segmenter on a shard of videos."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.sharding import shard_videos
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.job import job, work_settings
from wsvis_core.segmentation.predict import predict_masks

settings = snakemake.params.settings
with job(snakemake.log[0], threads=snakemake.threads, resources=snakemake.resources) as device:
    dataset = VideoDataset.load(Path(snakemake.input.dataset).parent)
    predict_masks(
        dataset,
        shard_videos(dataset, snakemake.wildcards.shard, settings["shards"]),
        Path(snakemake.input.weights),
        Path(snakemake.output.shard),
        build_section("maskconsist", settings["maskconsist"]),
        build_section("prediction", settings["prediction"]),
        device=device,
        digest_of=work_settings(settings, snakemake.input),
    )
