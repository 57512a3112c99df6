"""How far each track can be trusted, for users without ground truth; and whether that is true, for those with it."""


rule estimate_quality:
    input:
        dataset=DATASET,
        tracks=f"{ROUND}/{{tracker}}/tracks.json",
        flow=shards(FLOW_SHARD, "val"),
        before=predictions_before,
        calibration=calibration_of_quality,
    output:
        quality=f"{ROUND}/{{tracker}}/quality.json",
    log:
        f"{LOGS}/estimate_quality/{{labeller}}/{{segmenter}}/round-{{round}}/{{tracker}}.log",
    benchmark:
        f"{BENCHMARKS}/estimate_quality/{{labeller}}/{{segmenter}}/round-{{round}}/{{tracker}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(240),
    params:
        settings=settings_of("estimate_quality"),
    message:
        "How far the tracks of {wildcards.tracker} on {wildcards.dataset} can be trusted"
    script:
        "../workflow_scripts/estimate_quality.py"


rule evaluate_quality:
    input:
        quality=f"{ROUND}/{{tracker}}/quality.json",
        tracks=f"{ROUND}/{{tracker}}/tracks.json",
        ground_truth=f"{RESULTS}/dataset/ground_truth_val.json",
    output:
        metrics=f"{ROUND}/{{tracker}}/quality_metrics.json",
    log:
        f"{LOGS}/evaluate_quality/{{labeller}}/{{segmenter}}/round-{{round}}/{{tracker}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_quality/{{labeller}}/{{segmenter}}/round-{{round}}/{{tracker}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=settings_of("evaluate_quality"),
    message:
        "Holding the estimates for {wildcards.tracker} on {wildcards.dataset} against ground truth"
    script:
        "../workflow_scripts/evaluate_quality.py"


rule publish_quality:
    input:
        quality=each_route(f"{ROUND}/{{tracker}}/quality.json"),
        route=choice_of_route,
    output:
        table="results/{dataset}_quality.csv",
    log:
        f"{LOGS}/publish_quality.log",
    benchmark:
        f"{BENCHMARKS}/publish_quality.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        settings=settings_of("publish_quality"),
    message:
        "Tracks of {wildcards.dataset}, worst first"
    script:
        "../workflow_scripts/publish_quality.py"


rule choose_route:
    input:
        dataset=DATASET,
        tracks=each_route(f"{ROUND}/{{tracker}}/tracks.json"),
        quality=each_route(f"{ROUND}/{{tracker}}/quality.json"),
        labels=shards(PSEUDO_LABEL_SHARD, "val"),
    output:
        route="results/{dataset}/route.json",
    log:
        f"{LOGS}/choose_route.log",
    benchmark:
        f"{BENCHMARKS}/choose_route.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(60),
    params:
        settings=settings_of("choose_route"),
        routes=route_names,
    message:
        "Which tracks of {wildcards.dataset} are published"
    script:
        "../workflow_scripts/choose_route.py"
