"""Stage 1: label maps, the IRNet, and pseudo-labels, for every labeller variant."""


rule make_label_maps:
    input:
        dataset=DATASET,
        cams=CAM_SHARD,
        flow=same_shard_of_flow,
    output:
        shard=LABEL_MAP_SHARD,
    log:
        f"{LOGS}/make_label_maps/{{labeller}}/{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/make_label_maps/{{labeller}}/{{shard}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=240,
    params:
        settings=settings_of("make_label_maps"),
    message:
        "Label maps of {wildcards.labeller} on {wildcards.dataset}, shard {wildcards.shard}"
    script:
        "../workflow_scripts/make_label_maps.py"


rule train_flowirn:
    input:
        dataset=DATASET,
        label_maps=label_maps_of,
        flow=shards(FLOW_SHARD, "train"),
        cam_weights=classifier_weights("flowirn"),
    output:
        weights=f"{RESULTS}/{{labeller}}/weights.pt",
        records=f"{RESULTS}/{{labeller}}/training.jsonl",
    log:
        f"{LOGS}/train_flowirn/{{labeller}}.log",
    benchmark:
        f"{BENCHMARKS}/train_flowirn/{{labeller}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=720,
        gpu=1,
    params:
        settings=settings_of("train_flowirn"),
        checkpoints=f"{RESULTS}/{{labeller}}/training",
    message:
        "Training {wildcards.labeller} on {wildcards.dataset}"
    script:
        "../workflow_scripts/train_flowirn.py"


rule make_pseudo_labels:
    input:
        dataset=DATASET,
        weights=irnet_of("weights.pt"),
        cams=CAM_SHARD,
        flow=same_shard_of_flow,
    output:
        shard=PSEUDO_LABEL_SHARD,
    log:
        f"{LOGS}/make_pseudo_labels/{{labeller}}/{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/make_pseudo_labels/{{labeller}}/{{shard}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 4
    resources:
        mem_mb=growing(6000),
        runtime=480,
        gpu=1,
    params:
        settings=settings_of("make_pseudo_labels"),
    message:
        "Pseudo-labels of {wildcards.labeller} on {wildcards.dataset}, shard {wildcards.shard}"
    script:
        "../workflow_scripts/make_pseudo_labels.py"
