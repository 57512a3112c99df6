"""Metrics of pseudo-labels, frames and tracks."""


rule evaluate_pseudo_labels:
    input:
        dataset=DATASET,
        labels=shards(PSEUDO_LABEL_SHARD, "train"),
        ground_truth=f"{RESULTS}/dataset/ground_truth_train.json",
    output:
        metrics=f"{RESULTS}/{{labeller}}/pseudo_label_metrics.json",
    log:
        f"{LOGS}/evaluate_pseudo_labels/{{labeller}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_pseudo_labels/{{labeller}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(120),
    params:
        settings=settings_of("evaluate_pseudo_labels"),
    message:
        "Scoring the pseudo-labels of {wildcards.labeller} on {wildcards.dataset}"
    script:
        "../workflow_scripts/evaluate_pseudo_labels.py"


rule evaluate_frames:
    input:
        dataset=DATASET,
        predictions=shards(PREDICTION_SHARD, "val"),
        ground_truth=f"{RESULTS}/dataset/ground_truth_val.json",
    output:
        metrics=f"{ROUND}/frame_metrics.json",
    log:
        f"{LOGS}/evaluate_frames/{{labeller}}/{{segmenter}}/round-{{round}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_frames/{{labeller}}/{{segmenter}}/round-{{round}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(120),
    params:
        settings=settings_of("evaluate_frames"),
    message:
        "Scoring the masks of {wildcards.segmenter}, round {wildcards.round}, on {wildcards.dataset}"
    script:
        "../workflow_scripts/evaluate_frames.py"


rule evaluate_consistency:
    input:
        dataset=DATASET,
        predictions=shards(PREDICTION_SHARD, "val"),
        flow=shards(FLOW_SHARD, "val"),
    output:
        metrics=f"{ROUND}/consistency_metrics.json",
    log:
        f"{LOGS}/evaluate_consistency/{{labeller}}/{{segmenter}}/round-{{round}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_consistency/{{labeller}}/{{segmenter}}/round-{{round}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
    params:
        settings=settings_of("evaluate_consistency"),
    message:
        "Temporal consistency of {wildcards.segmenter}, round {wildcards.round}, on {wildcards.dataset}"
    script:
        "../workflow_scripts/evaluate_consistency.py"


rule evaluate_video:
    input:
        tracks=f"{ROUND}/{{tracker}}/tracks.json",
        ground_truth=f"{RESULTS}/dataset/ground_truth_val.json",
    output:
        metrics=f"{ROUND}/{{tracker}}/metrics.json",
    log:
        f"{LOGS}/evaluate_video/{{labeller}}/{{segmenter}}/round-{{round}}/{{tracker}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_video/{{labeller}}/{{segmenter}}/round-{{round}}/{{tracker}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=settings_of("evaluate_video"),
    message:
        "Scoring the tracks of {wildcards.tracker} on {wildcards.dataset}"
    script:
        "../workflow_scripts/evaluate_video.py"
