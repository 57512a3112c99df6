"""Rule train_flowirn: the IRNet of a labeller variant."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.flowirn.train import train_flowirn
from wsvis_core.job import job, training_run

settings = snakemake.params.settings
cam_weights = [Path(path) for path in snakemake.input.cam_weights]
with job(snakemake.log[0], threads=snakemake.threads, resources=snakemake.resources) as device:
    train_flowirn(
        VideoDataset.load(Path(snakemake.input.dataset).parent),
        [Path(path) for path in snakemake.input.label_maps],
        [Path(path) for path in snakemake.input.flow],
        cam_weights[0] if cam_weights else None,
        build_section("flowirn", settings["flowirn"]),
        build_section("f_bound", settings["f_bound"]),
        build_section("stage1", settings["stage1"]).irnet_scale,
        training_run(snakemake, device),
        Path(snakemake.output.weights),
        Path(snakemake.output.records),
    )
