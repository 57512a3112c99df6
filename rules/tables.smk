"""The paper's tables, over all replicates of a data set."""


rule make_table:
    input:
        quality=table_metrics("quality"),
        consistency=table_metrics("consistency"),
    output:
        table=f"{RESULTS}/tables/{{table}}.csv",
        plot=f"{RESULTS}/tables/{{table}}.svg",
    log:
        f"{LOGS}/make_table/{{table}}.log",
    benchmark:
        f"{BENCHMARKS}/make_table/{{table}}.tsv"
    wildcard_constraints:
        table=one_of(TablesSettings.model_fields),
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        settings=settings_of("make_table"),
        rows=table_rows,
    message:
        "{wildcards.table} of {wildcards.dataset}"
    script:
        "../workflow_scripts/make_table.py"
