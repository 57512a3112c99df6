"""The paper's tables, over all replicates of a data set."""


rule make_table4:
    input:
        metrics=table_metrics("table4", f"{RESULTS}/{{labeller}}/pseudo_label_metrics.json"),
    output:
        table=f"{RESULTS}/tables/table4.csv",
        plot=f"{RESULTS}/tables/table4.svg",
    log:
        f"{LOGS}/make_table4.log",
    benchmark:
        f"{BENCHMARKS}/make_table4.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=settings_of("make_table4"),
        labellers=table_labellers("table4"),
    message:
        "Table 4 of {wildcards.dataset}: pseudo-labels of {params.labellers}"
    script:
        "../workflow_scripts/make_table4.py"
