"""Optical flow of every shard of videos."""


rule extract_flow:
    input:
        dataset=DATASET,
    output:
        shard=FLOW_SHARD,
    log:
        f"{LOGS}/extract_flow/{{flow}}/{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/extract_flow/{{flow}}/{{shard}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=240,
    params:
        settings=settings_of("extract_flow"),
    message:
        "Optical flow of {wildcards.dataset}, shard {wildcards.shard}"
    script:
        "../workflow_scripts/extract_flow.py"
