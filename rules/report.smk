"""The result file of the configured pipeline, and the report page."""


rule publish_tracks:
    input:
        tracks=each_route(f"{ROUND}/{{tracker}}/tracks.json"),
        route=choice_of_route,
    output:
        tracks="results/{dataset}_vis.json",
    log:
        f"{LOGS}/publish_tracks.log",
    benchmark:
        f"{BENCHMARKS}/publish_tracks.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    message:
        "Result file of {wildcards.dataset}"
    script:
        "../workflow_scripts/publish_tracks.py"


rule show_transfers:
    input:
        dataset=DATASET,
        labels=labels_of_round,
        flow=shards(FLOW_SHARD, "train"),
        weights=f"{ROUND}/weights.pt",
    output:
        transfers=f"{ROUND}/transfers.json",
    log:
        f"{LOGS}/show_transfers/{{labeller}}/{{segmenter}}/round-{{round}}.log",
    benchmark:
        f"{BENCHMARKS}/show_transfers/{{labeller}}/{{segmenter}}/round-{{round}}.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        gpu=1,
    params:
        settings=settings_of("show_transfers"),
    message:
        "Transfers of {wildcards.segmenter} on {wildcards.labeller} labels of {wildcards.dataset}, round {wildcards.round}"
    script:
        "../workflow_scripts/show_transfers.py"


rule make_report:
    input:
        dataset=DATASET,
        ground_truth=f"{RESULTS}/dataset/ground_truth_val.json",
        flow=shown(FLOW_SHARD),
        cams=shown(CAM_SHARD),
        pseudo_labels=shown(PSEUDO_LABEL_SHARD),
        predictions=each_route(PREDICTION_SHARD),
        tracks=each_route(f"{ROUND}/{{tracker}}/tracks.json"),
        metrics=each_route(f"{ROUND}/{{tracker}}/metrics.json"),
        quality=each_route(f"{ROUND}/{{tracker}}/quality.json"),
        quality_metrics=each_route(f"{ROUND}/{{tracker}}/quality_metrics.json"),
        # The page names it as the whole list.
        quality_table="results/{dataset}_quality.csv",
        route=choice_of_route,
        route_frame_metrics=each_route(f"{ROUND}/frame_metrics.json"),
        frame_metrics=each_round(f"{ROUND}/frame_metrics.json"),
        consistency=each_route(f"{ROUND}/consistency_metrics.json"),
        pseudo_label_metrics=each_labeller(f"{RESULTS}/{{labeller}}/pseudo_label_metrics.json"),
        train_ground_truth=f"{RESULTS}/dataset/ground_truth_train.json",
        train_labels=labels_of_each_labeller,
        cam_records=f"{RESULTS}/cam/training.jsonl",
        labeller_records=records_of_irnets,
        segmenter_records=each_trained_round(f"{ROUND}/training.jsonl"),
        transfers=each_trained_round(f"{ROUND}/transfers.json"),
        tables=report_tables,
    output:
        page="results/{dataset}_report.html",
        picture="results/{dataset}_strips.jpg",
    log:
        f"{LOGS}/make_report.log",
    benchmark:
        f"{BENCHMARKS}/make_report.tsv"
    conda:
        "../envs/wsvis.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(60),
    params:
        settings=settings_of("make_report"),
        pipeline=pipeline_settings,
        routes=route_names,
        run_settings=whole_settings,
        benchmarks=BENCHMARKS,
    message:
        "Report of {wildcards.dataset}"
    script:
        "../workflow_scripts/make_report.py"
