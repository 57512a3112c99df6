"""wsvis: videos and class labels in, tracked instance masks out. Loads and checks the config, includes the rules."""

from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


configfile: Path(workflow.basedir) / "config.yaml"


include: "rules/common.smk"
include: "rules/datasets.smk"
include: "rules/flow.smk"
include: "rules/cam.smk"
include: "rules/flowirn.smk"
include: "rules/segmentation.smk"
include: "rules/tracking.smk"
include: "rules/evaluation.smk"
include: "rules/quality.smk"
include: "rules/tables.smk"
include: "rules/report.smk"


wildcard_constraints:
    dataset=one_of(CONFIG.datasets),
    flow=one_of(CONFIG.variants("flows")),
    labeller=one_of(CONFIG.variants("labellers")),
    segmenter=one_of(CONFIG.variants("segmenters")),
    tracker=one_of(CONFIG.variants("trackers")),
    shard=r"(train|val)-\d{3}",
    round=r"\d",


# The limit on GPUs (profiles/default) is this machine's; on a cluster the scheduler knows how many there are.
resource_scopes:
    gpu="local",


# The live view on a terminal, and what `wsvis status` reads.
onstart:
    from wsvis_core.monitor.watch import watch

    watch(workflow, workflow.logger_manager.logger)


localrules:
    all,


rule all:
    default_target: True
    input:
        "results/demo_vis.json",
        "results/demo_report.html",
