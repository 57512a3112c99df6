"""Rule predict_masks: detections of a trained segmenter on a shard of videos, or the pseudo-labels passed on."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.sharding import shard_videos
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.job import job, work_settings
from wsvis_core.segmentation.labels import pass_labels_on
from wsvis_core.segmentation.predict import predict_masks

settings = snakemake.params.settings
with job(snakemake.log[0], threads=snakemake.threads, resources=snakemake.resources) as device:
    dataset = VideoDataset.load(Path(snakemake.input.dataset).parent)
    videos = shard_videos(dataset, snakemake.wildcards.shard, settings["shards"])
    output, digest = Path(snakemake.output.shard), work_settings(settings, snakemake.input)
    if snakemake.input.labels:
        pass_labels_on(videos, Path(snakemake.input.labels), output, digest_of=digest)
    else:
        predict_masks(
            dataset,
            videos,
            Path(snakemake.input.weights),
            output,
            build_section("maskconsist", settings["maskconsist"]),
            build_section("prediction", settings["prediction"]),
            device=device,
            digest_of=digest,
        )
