"""Masks per frame → tracks per video."""


rule track_instances:
    input:
        dataset=DATASET,
        predictions=shards(PREDICTION_SHARD, "val"),
        flow=shards(FLOW_SHARD, "val"),
    output:
        tracks=f"{ROUND}/{{tracker}}/tracks.json",
    log:
        f"{LOGS}/track_instances/{{labeller}}/{{segmenter}}/round-{{round}}/{{tracker}}.log",
    benchmark:
        f"{BENCHMARKS}/track_instances/{{labeller}}/{{segmenter}}/round-{{round}}/{{tracker}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        settings=settings_of("track_instances"),
    message:
        "Tracking with {wildcards.tracker} on {wildcards.dataset}"
    script:
        "../workflow_scripts/track_instances.py"
