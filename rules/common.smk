"""Helpers of the rules: the checked configuration, settings per stage, paths of shards. Holds no rule."""

import re
import sys
from dataclasses import asdict

sys.path.insert(0, workflow.basedir)

from snakemake.exceptions import WorkflowError

from wsvis_core.config import SECTIONS, Config, TablesSettings
from wsvis_core.datasets.sharding import shard_names
from wsvis_core.errors import WsvisError
from wsvis_core.locks import hold_run_lock
from wsvis_core.stages import stage_settings
from wsvis_core.targets import check_targets

RESULTS = "results/{dataset}"
ROUND = f"{RESULTS}/{{labeller}}/{{segmenter}}/round-{{round}}"
LOGS = "logs/{dataset}"
BENCHMARKS = "logs/{dataset}/benchmarks"


def load_config():
    sources = [str(path) for path in workflow.configfiles]
    try:
        loaded = Config(config, source=" + ".join(sources) or "config.yaml")
        if workflow.is_main_process:
            check_targets(sys.argv[1:], loaded.datasets)
    except WsvisError as error:
        # Not a WorkflowError, which Snakemake would show with the lines of this file that it came through.
        raise SystemExit(f"wsvis: {error}") from None
    return loaded


CONFIG = load_config()
GENERATED = [name for name, block in CONFIG.datasets.items() if block.kind == "synthetic"]
# Kept open until Snakemake ends: tells a run that is alive from one that was killed.
RUN_LOCK = hold_run_lock(Path(".snakemake")) if workflow.is_main_process else None


def one_of(names):
    """A wildcard pattern that fits exactly these names; no name, nothing."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def growing(amount):
    """A resource that the n-th attempt of a job gets n times: what was too little will be enough.

    Time grows only for rules that start over. Trainers and shards go on where the last attempt ended, so more time gains
    them nothing, and may be more than a cluster's partition allows.
    """
    return lambda wildcards, attempt: amount * attempt


def settings_of(stage):
    """An input function: the settings that influence a stage's result, for the wildcards of a job."""
    names = ("flow", "labeller", "segmenter", "round", "shard", "tracker")

    def settings(wildcards):
        chosen = {name: wildcards[name] for name in names if name in wildcards.keys()}
        return stage_settings(CONFIG, stage, wildcards.dataset, **chosen)

    return settings


def pipeline_of(wildcards):
    """The pipeline settings of a data set."""
    return CONFIG.section("pipeline", wildcards.dataset)


def pipeline_settings(wildcards):
    """The same as a plain dict, for `params`."""
    return pipeline_of(wildcards).model_dump(mode="json")


def whole_settings(wildcards):
    """Every section with the pipeline's variants, for the report."""
    pipeline = pipeline_of(wildcards)
    variants = {name: getattr(pipeline, name) for name in ("flow", "labeller", "segmenter", "tracker")}
    return CONFIG.stage(SECTIONS, wildcards.dataset, **variants)


def looks_at_training_videos(dataset):
    """Are the videos that are looked at those that are trained on (split: {mode: all})?"""
    return CONFIG.datasets[dataset].split.mode == "all"


def shards_of(dataset, split):
    """Names of the shards of a split. Where both splits have the same videos, nothing is made twice: those of train."""
    if looks_at_training_videos(dataset):
        split = "train"
    return shard_names(split, getattr(CONFIG.datasets[dataset].shards, split))


def shown_shards(dataset):
    """Names of the shards whose CAMs and labels the report shows: the first that is held out, or all trained on."""
    return shards_of(dataset, "val") if looks_at_training_videos(dataset) else ["val-000"]


def shards(pattern, split):
    """An input function: `pattern` for every shard of a split; {flow}, {labeller} are the job's, else the pipeline's."""

    def paths(wildcards):
        pipeline = pipeline_of(wildcards)
        known = {"flow": pipeline.flow, "labeller": pipeline.labeller, **wildcards}
        return [pattern.format(**known, shard=shard) for shard in shards_of(wildcards.dataset, split)]

    return paths


def same_shard_of_flow(wildcards):
    """The flow shard with the same videos as the job's own shard."""
    return FLOW_SHARD.format(**wildcards, flow=pipeline_of(wildcards).flow)


def source_annotations(wildcards):
    """The annotation file, where it exists or can be generated; without it the job says what to put where."""
    block = CONFIG.datasets[wildcards.dataset]
    path = Path(block.root) / block.annotation_file
    return [local(str(path))] if block.kind == "synthetic" or path.exists() else []


def labels_of_round(wildcards):
    """What a segmenter learns from: pseudo-labels in round 0, predictions of the round before afterwards."""
    number = int(wildcards.round)
    if passes_labels_on(wildcards.dataset, wildcards.segmenter):
        raise WorkflowError(
            f"segmenter '{wildcards.segmenter}' passes the pseudo-labels on and learns nothing: it has neither weights "
            "nor transfers; ask for its tracks, or for another segmenter"
        )
    if number == 0:
        return shards(PSEUDO_LABEL_SHARD, "train")(wildcards)
    return shards(PREDICTION_SHARD.replace("{round}", str(number - 1)), "train")(wildcards)


def passes_labels_on(dataset, segmenter):
    """Are the segmenter's masks the pseudo-labels themselves?"""
    return CONFIG.section("maskconsist", dataset, segmenter=segmenter).kind == "labels"


def weights_of_segmenter(wildcards):
    """The trained weights of the job's round; none for a segmenter that passes labels on."""
    return [] if passes_labels_on(wildcards.dataset, wildcards.segmenter) else f"{ROUND}/weights.pt"


def labels_passed_on(wildcards):
    """The pseudo-labels of the job's shard, for a segmenter that passes them on; else none."""
    if not passes_labels_on(wildcards.dataset, wildcards.segmenter):
        return []
    if wildcards.round != "0":
        raise WorkflowError(
            f"segmenter '{wildcards.segmenter}' passes the pseudo-labels on and learns nothing: it has round-0 alone, "
            f"no round-{wildcards.round}"
        )
    return PSEUDO_LABEL_SHARD


def predictions_before(wildcards):
    """Predictions of the round before on held-out videos; none in round 0, which has no such round."""
    number = int(wildcards.round)
    before = PREDICTION_SHARD.replace("{round}", str(number - 1))
    return shards(before, "val")(wildcards) if number > 0 else []


def calibration_of_quality(wildcards):
    """The file that `quality.calibration` names, if it does."""
    path = CONFIG.section("quality", wildcards.dataset).calibration
    return [] if path is None else [local(path)]


def classifier_weights(section):
    """An input function: the classifier's weights where a stage starts from them (backbone_weights: cam), else none."""

    def paths(wildcards):
        variants = {name: wildcards[name] for name in ("labeller", "segmenter") if name in wildcards.keys()}
        settings = CONFIG.section(section, wildcards.dataset, **variants)
        return [f"results/{wildcards.dataset}/cam/weights.pt"] if settings.backbone_weights == "cam" else []

    return paths


def irnet_of(name):
    """An input function: that file of the job's IRNet, none for a labeller of another kind."""

    def paths(wildcards):
        return [f"results/{wildcards.dataset}/{wildcards.labeller}/{name}"] * has_irnet(wildcards, wildcards.labeller)

    return paths


def has_irnet(wildcards, labeller):
    """Is the labeller a trained IRNet?"""
    return CONFIG.section("pseudo_labels", wildcards.dataset, labeller=labeller).kind == "irnet"


def records_of_irnets(wildcards):
    """Training records of the compared labellers that have any."""
    names = [name for name in compared_labellers(wildcards) if has_irnet(wildcards, name)]
    return [f"results/{wildcards.dataset}/{name}/training.jsonl" for name in names]


def shown(pattern):
    """An input function: `pattern` for the pipeline's labeller and flow, and every shard that the report shows."""

    def paths(wildcards):
        pipeline = pipeline_of(wildcards)
        known = {"dataset": wildcards.dataset, "labeller": pipeline.labeller, "flow": pipeline.flow}
        return [pattern.format(**known, shard=shard) for shard in shown_shards(wildcards.dataset)]

    return paths


def routes_of(wildcards):
    """(segmenter, round) whose tracks may be published: the pipeline's own first."""
    pipeline = pipeline_of(wildcards)
    names = dict.fromkeys([pipeline.segmenter, *pipeline.compare_segmenters])
    return [(name, 0 if passes_labels_on(wildcards.dataset, name) else pipeline.rounds) for name in names]


def route_names(wildcards):
    """The segmenters of the routes, for `params`."""
    return [name for name, _ in routes_of(wildcards)]


def each_route(pattern):
    """An input function: `pattern` for the pipeline's variants and the last round of every route.

    A pattern with a shard gives all that the report shows, of one route and then of the next.
    """

    def paths(wildcards):
        pipeline = pipeline_of(wildcards)
        known = {"dataset": wildcards.dataset, "labeller": pipeline.labeller, "tracker": pipeline.tracker}
        names = shown_shards(wildcards.dataset) if "{shard}" in pattern else [None]
        return [
            pattern.format(**known, segmenter=segmenter, round=number, shard=shard)
            for segmenter, number in routes_of(wildcards)
            for shard in names
        ]

    return paths


def choice_of_route(wildcards):
    """Which route is published, where there are several; else none."""
    return [f"results/{wildcards.dataset}/route.json"] if len(routes_of(wildcards)) > 1 else []


def each_trained_round(pattern):
    """An input function: `pattern` for every round of the pipeline; none where no segmenter is trained."""

    def paths(wildcards):
        if passes_labels_on(wildcards.dataset, pipeline_of(wildcards).segmenter):
            return []
        return each_round(pattern)(wildcards)

    return paths


def each_round(pattern):
    """An input function: `pattern` for every round of the pipeline, round 0 first."""

    def paths(wildcards):
        pipeline = pipeline_of(wildcards)
        return [
            pattern.format(
                dataset=wildcards.dataset, labeller=pipeline.labeller, segmenter=pipeline.segmenter, round=number
            )
            for number in range(pipeline.rounds + 1)
        ]

    return paths


def compared_labellers(wildcards):
    """The pipeline's labeller and those it is compared with."""
    pipeline = pipeline_of(wildcards)
    return list(dict.fromkeys([pipeline.labeller, *pipeline.compare_labellers]))


def each_labeller(pattern):
    """An input function: `pattern` for the pipeline's labeller and those it is compared with."""

    def paths(wildcards):
        return [pattern.format(dataset=wildcards.dataset, labeller=name) for name in compared_labellers(wildcards)]

    return paths


def labels_of_each_labeller(wildcards):
    """Pseudo-labels of the training videos: all shards of one compared labeller, then of the next."""
    known = {"dataset": wildcards.dataset, "shard": "{shard}"}
    patterns = [PSEUDO_LABEL_SHARD.format(labeller=name, **known) for name in compared_labellers(wildcards)]
    return [path for pattern in patterns for path in shards(pattern, "train")(wildcards)]


def label_maps_of(wildcards):
    """Label maps of the training split; labellers that differ in nothing that makes them share one set.

    It has the name of the first of them: the pipeline's own labeller, those it is compared with, then all others.
    """
    own = stage_settings(CONFIG, "make_label_maps", wildcards.dataset, labeller=wildcards.labeller)
    for name in [*compared_labellers(wildcards), *CONFIG.variants("labellers")]:
        if stage_settings(CONFIG, "make_label_maps", wildcards.dataset, labeller=name) == own:
            break
    return shards(LABEL_MAP_SHARD.replace("{labeller}", name), "train")(wildcards)


def rows_of_table(wildcards):
    """The rows of a table, for the data set it is asked for."""
    try:
        return CONFIG.table_rows(wildcards.table, wildcards.dataset)
    except WsvisError as error:
        raise WorkflowError(str(error)) from None


def table_rows(wildcards):
    """The same as plain dicts, for `params`."""
    return [asdict(row) for row in rows_of_table(wildcards)]


def table_metrics(name):
    """An input function: a file of metrics of every row of a table, and for each the data set and its replicates.

    name: "quality" of the labels, the held-out masks or their tracks, or "consistency", which only masks have.
    """

    def paths(wildcards):
        datasets = [wildcards.dataset, *CONFIG.datasets[wildcards.dataset].replicates]
        rows = rows_of_table(wildcards)
        patterns = [table_pattern(row, name) for row in rows]
        return [
            pattern.format(dataset=dataset, **asdict(row))
            for row, pattern in zip(rows, patterns)
            for dataset in datasets
            if pattern is not None
        ]

    return paths


def table_pattern(row, name):
    """Where the metrics of a row lie; None where there are none of that name."""
    if row.segmenter is None:
        return f"{RESULTS}/{{labeller}}/pseudo_label_metrics.json" if name == "quality" else None
    if row.tracker is not None:
        return f"{ROUND}/{{tracker}}/metrics.json" if name == "quality" else None
    return f"{ROUND}/frame_metrics.json" if name == "quality" else f"{ROUND}/consistency_metrics.json"


def report_tables(wildcards):
    """The tables a report shows (report.tables)."""
    names = CONFIG.section("report", wildcards.dataset).tables
    return [f"results/{wildcards.dataset}/tables/{name}.csv" for name in names]


DATASET = f"{RESULTS}/dataset/videos.json"
FLOW_SHARD = f"{RESULTS}/flow/{{flow}}/shard-{{shard}}.h5"
CAM_SHARD = f"{RESULTS}/cam/shard-{{shard}}.h5"
LABEL_MAP_SHARD = f"{RESULTS}/{{labeller}}/label_maps/shard-{{shard}}.h5"
PSEUDO_LABEL_SHARD = f"{RESULTS}/{{labeller}}/pseudo_labels/shard-{{shard}}.h5"
PREDICTION_SHARD = f"{ROUND}/predictions/shard-{{shard}}.h5"
