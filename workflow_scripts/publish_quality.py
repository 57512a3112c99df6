"""Rule publish_quality: the configured pipeline's tracks as a table, worst first."""

from pathlib import Path

from wsvis_core.job import job
from wsvis_core.quality.files import write_table

with job(snakemake.log[0], threads=snakemake.threads):
    write_table(Path(snakemake.input.quality), Path(snakemake.output.table))
