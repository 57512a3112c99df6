"""Rule prepare_dataset: check the videos and write the lists every later stage reads."""

from pathlib import Path

from wsvis_core.config import DatasetSettings
from wsvis_core.datasets.prepare import prepare_from_settings
from wsvis_core.job import job

with job(snakemake.log[0], threads=snakemake.threads):
    prepare_from_settings(
        snakemake.wildcards.dataset,
        DatasetSettings.model_validate(snakemake.params.settings["dataset"]),
        Path(snakemake.output.videos).parent,
        workers=snakemake.threads,
    )
