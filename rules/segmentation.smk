"""Stage 2 and self-training: Mask R-CNN with MaskConsist, and its predictions; or the pseudo-labels passed on."""


rule train_maskconsist:
    input:
        dataset=DATASET,
        labels=labels_of_round,
        flow=shards(FLOW_SHARD, "train"),
        cam_weights=classifier_weights("maskconsist"),
    output:
        weights=f"{ROUND}/weights.pt",
        records=f"{ROUND}/training.jsonl",
    log:
        f"{LOGS}/train_maskconsist/{{labeller}}/{{segmenter}}/round-{{round}}.log",
    benchmark:
        f"{BENCHMARKS}/train_maskconsist/{{labeller}}/{{segmenter}}/round-{{round}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=2880,
        # Several share the batches of a step where a profile says so (docs/training.md).
        gpu=1,
    params:
        settings=settings_of("train_maskconsist"),
        checkpoints=f"{ROUND}/training",
    message:
        "Training {wildcards.segmenter} on {wildcards.labeller} labels of {wildcards.dataset}, round {wildcards.round}"
    script:
        "../workflow_scripts/train_maskconsist.py"


rule predict_masks:
    input:
        dataset=DATASET,
        weights=weights_of_segmenter,
        labels=labels_passed_on,
    output:
        shard=PREDICTION_SHARD,
    log:
        f"{LOGS}/predict_masks/{{labeller}}/{{segmenter}}/round-{{round}}/{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/predict_masks/{{labeller}}/{{segmenter}}/round-{{round}}/{{shard}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=480,
        gpu=1,
    params:
        settings=settings_of("predict_masks"),
    message:
        "Masks of {wildcards.segmenter}, round {wildcards.round}, on {wildcards.dataset}, shard {wildcards.shard}"
    script:
        "../workflow_scripts/predict_masks.py"
