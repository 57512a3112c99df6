"""Rule make_table: one of the paper's tables as CSV, and its plot."""

from pathlib import Path

from wsvis_core.config import TableRow
from wsvis_core.evaluation.tables import write_table
from wsvis_core.job import job
from wsvis_core.visualization.tables import write_table_plot

rows = [TableRow(**row) for row in snakemake.params.rows]
with job(snakemake.log[0], threads=snakemake.threads):
    table = Path(snakemake.output.table)
    write_table(
        snakemake.wildcards.table,
        rows,
        [Path(path) for path in snakemake.input.quality],
        [Path(path) for path in snakemake.input.consistency],
        table,
    )
    write_table_plot(table, Path(snakemake.output.plot))
