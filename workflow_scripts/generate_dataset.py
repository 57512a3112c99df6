"""Rule generate_dataset: the embedded data set in the YouTube-VIS layout."""

from pathlib import Path

from wsvis_core.datasets.synthetic import SyntheticSettings, write_dataset
from wsvis_core.job import job

with job(snakemake.log[0], threads=snakemake.threads):
    settings = snakemake.params.settings["dataset"]["synthetic"]
    write_dataset(Path(snakemake.output.annotations).parent, SyntheticSettings.from_mapping(settings))
