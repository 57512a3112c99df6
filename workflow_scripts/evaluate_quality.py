"""Rule evaluate_quality: are the tracks right that are said to be?"""

from pathlib import Path

from wsvis_core.job import job
from wsvis_core.quality.evaluate import evaluate_quality

files = snakemake.input
with job(snakemake.log[0], threads=snakemake.threads):
    evaluate_quality(Path(files.quality), Path(files.tracks), Path(files.ground_truth), Path(snakemake.output.metrics))
