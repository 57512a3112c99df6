"""Rule publish_quality: the published tracks as a table, worst first."""

from pathlib import Path

from wsvis_core.job import job
from wsvis_core.quality.files import write_table
from wsvis_core.quality.routes import chosen_route, read_choice

with job(snakemake.log[0], threads=snakemake.threads):
    quality, choice = snakemake.input.quality, snakemake.input.route
    route = read_choice(Path(choice[0]))["published"] if choice else None
    write_table(Path(quality[chosen_route(choice)]), Path(snakemake.output.table), route=route)
