"""Data sets: generate the embedded one, check and index any."""


rule generate_dataset:
    output:
        # Frames lie beside it, and are read from there: neither goes to an object store.
        annotations=local("data/{dataset}/train.json"),
    log:
        f"{LOGS}/generate_dataset.log",
    benchmark:
        f"{BENCHMARKS}/generate_dataset.tsv"
    # Only generated sets: Snakemake removes a job's output before it runs, and a user's train.json is nobody's output.
    wildcard_constraints:
        dataset=one_of(GENERATED),
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        settings=settings_of("generate_dataset"),
    message:
        "Generating the videos of data set {wildcards.dataset}"
    script:
        "../workflow_scripts/generate_dataset.py"


rule prepare_dataset:
    input:
        annotations=source_annotations,
    output:
        videos=DATASET,
        class_labels=f"{RESULTS}/dataset/class_labels.json",
        splits=f"{RESULTS}/dataset/splits.json",
        ground_truth_train=f"{RESULTS}/dataset/ground_truth_train.json",
        ground_truth_val=f"{RESULTS}/dataset/ground_truth_val.json",
        summary=f"{RESULTS}/dataset/summary.json",
    log:
        f"{LOGS}/prepare_dataset.log",
    benchmark:
        f"{BENCHMARKS}/prepare_dataset.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        settings=settings_of("prepare_dataset"),
    message:
        "Checking data set {wildcards.dataset} and drawing its splits"
    script:
        "../workflow_scripts/prepare_dataset.py"
