"""Rule make_table4: the paper's Table 4 as CSV, and its plot."""

from pathlib import Path

from wsvis_core.evaluation.tables import write_table4
from wsvis_core.job import job
from wsvis_core.visualization.tables import write_table_plot

labellers = snakemake.params.labellers
paths = [Path(path) for path in snakemake.input.metrics]
replicates = len(paths) // len(labellers)
with job(snakemake.log[0], threads=snakemake.threads):
    table = Path(snakemake.output.table)
    metrics = {name: paths[i * replicates : (i + 1) * replicates] for i, name in enumerate(labellers)}
    write_table4(metrics, table)
    write_table_plot(table, Path(snakemake.output.plot))
