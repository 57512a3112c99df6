"""Rule evaluate_consistency: do the masks of neighbouring held-out frames agree along the flow?"""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.evaluation.infer import score_consistency
from wsvis_core.job import job

with job(snakemake.log[0], threads=snakemake.threads):
    score_consistency(
        VideoDataset.load(Path(snakemake.input.dataset).parent),
        [Path(path) for path in snakemake.input.predictions],
        [Path(path) for path in snakemake.input.flow],
        build_section("evaluation", snakemake.params.settings["evaluation"]),
        Path(snakemake.output.metrics),
    )
