"""The frame classifier and its class activation maps."""


rule train_cam:
    input:
        dataset=DATASET,
    output:
        weights=f"{RESULTS}/cam/weights.pt",
        records=f"{RESULTS}/cam/training.jsonl",
    log:
        f"{LOGS}/train_cam.log",
    benchmark:
        f"{BENCHMARKS}/train_cam.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=720,
        gpu=1,
    params:
        settings=settings_of("train_cam"),
        checkpoints=f"{RESULTS}/cam/training",
    message:
        "Training the frame classifier of {wildcards.dataset}"
    script:
        "../workflow_scripts/train_cam.py"


rule extract_cam:
    input:
        dataset=DATASET,
        weights=f"{RESULTS}/cam/weights.pt",
    output:
        shard=CAM_SHARD,
    log:
        f"{LOGS}/extract_cam/{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/extract_cam/{{shard}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=240,
        gpu=1,
    params:
        settings=settings_of("extract_cam"),
    message:
        "Class activation maps of {wildcards.dataset}, shard {wildcards.shard}"
    script:
        "../workflow_scripts/extract_cam.py"
