"""What every stage's result depends on: its config sections and its version.

Snakemake does not see changes of code inside the package, so a change that alters a stage's result raises that
stage's version here; the stage and what depends on it then rerun. Imports nothing heavy: the Snakefile reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wsvis_core.config import Config


@dataclass(frozen=True)
class Stage:
    """version: raised when the code changes the result. sections: config sections that influence it.

    seeded: does the run's seed influence it? without: "section.key" of single settings that do not.
    """

    version: int
    sections: tuple[str, ...]
    seeded: bool = False
    without: tuple[str, ...] = ()


# The settings of temporal consistency alone.
_CONSISTENCY = (
    "evaluation.consistency_thresholds",
    "evaluation.consistency_direction",
    "evaluation.consistency_ignore_occluded",
)
# Those of the intervals of the VIS metrics alone.
_BOOTSTRAP = ("evaluation.bootstrap_resamples", "evaluation.bootstrap_seed", "evaluation.confidence")
STAGES = {
    "generate_dataset": Stage(2, ()),
    "prepare_dataset": Stage(1, ()),
    "extract_flow": Stage(1, ("flow",)),
    "train_cam": Stage(1, ("cam",), seeded=True, without=("cam.scales",)),
    "extract_cam": Stage(1, ("cam", "stage1"), without=("stage1.irnet_scale",)),
    "make_label_maps": Stage(2, ("f_cam", "label_maps"), without=("f_cam.seeds",)),
    "train_flowirn": Stage(2, ("flowirn", "f_bound", "stage1"), seeded=True, without=("stage1.long_side",)),
    "make_pseudo_labels": Stage(
        2, ("flowirn", "f_cam", "pseudo_labels", "stage1"), without=("f_cam.labels", "stage1.long_side")
    ),
    "train_maskconsist": Stage(3, ("maskconsist", "self_training"), seeded=True),
    "predict_masks": Stage(2, ("maskconsist", "prediction")),
    "track_instances": Stage(2, ("tracking",)),
    "evaluate_pseudo_labels": Stage(2, ("evaluation",), without=(*_CONSISTENCY, *_BOOTSTRAP)),
    "evaluate_frames": Stage(1, ("evaluation",), without=("evaluation.selection_share", *_CONSISTENCY, *_BOOTSTRAP)),
    "evaluate_consistency": Stage(
        1,
        ("evaluation",),
        without=("evaluation.selection_share", "evaluation.instance_count_thresholds", *_BOOTSTRAP),
    ),
    "evaluate_video": Stage(
        2,
        ("evaluation",),
        without=("evaluation.selection_share", "evaluation.instance_count_thresholds", *_CONSISTENCY),
    ),
    "estimate_quality": Stage(3, ("quality",)),
    "evaluate_quality": Stage(1, ()),
    "choose_route": Stage(1, ()),
    "publish_quality": Stage(3, ()),
    "make_table": Stage(1, ()),
    "show_transfers": Stage(
        1,
        ("maskconsist", "self_training", "report"),
        seeded=True,
        without=(
            "report.videos",
            "report.frames_per_video",
            "report.long_side",
            "report.megabytes",
            "report.tables",
        ),
    ),
    "make_report": Stage(9, ("report",), without=("report.transfers", "report.transfer_pairs")),
}
# Keys of a data set's block that leave the prepared data set as it is.
_NOT_PREPARED = {"shards", "synthetic", "seed", "replicates"}
SHARDED = {"extract_flow", "extract_cam", "make_label_maps", "make_pseudo_labels", "predict_masks"}


def stage_settings(
    config: Config,
    stage: str,
    dataset: str,
    *,
    round: str | None = None,
    shard: str | None = None,
    **variants: str,
) -> dict[str, Any]:
    """The plain, sorted dict that goes into a rule's `params`: exactly what influences the stage's result.

    round: of self-training; round "0" has no `self_training` in its settings. shard: of held-out videos, whose labels
    nothing may know: `given_labels` is none of its settings. variants: flow=, labeller=, segmenter=, tracker=, those
    that name the job.
    """
    spec = STAGES[stage]
    settings = config.stage(spec.sections, dataset, **variants)
    settings["version"] = spec.version
    if not spec.seeded:
        del settings["seed"]
    for path in spec.without:
        section, key = path.split(".")
        settings[section].pop(key, None)
    if round == "0":
        settings.pop("self_training", None)
    block = config.datasets[dataset]
    if stage in ("generate_dataset", "prepare_dataset"):
        settings["dataset"] = _dataset_facts(block.model_dump(mode="json"), stage)
    if settings.get("maskconsist") == {"kind": "labels"}:
        settings.pop("prediction", None)
    if shard is not None and shard.startswith("val-") and block.split.mode != "all":
        settings.get("prediction", {}).pop("given_labels", None)
    if stage in SHARDED:
        settings["shards"] = block.shards.model_dump()
    return dict(sorted(settings.items()))


def _dataset_facts(block: dict[str, Any], stage: str) -> dict[str, Any]:
    """What of a data set's block matters: the generator's settings for one stage, everything else for the other."""
    if stage == "generate_dataset":
        return {"root": block["root"], "synthetic": dict(sorted(block["synthetic"].items()))}
    return {key: value for key, value in sorted(block.items()) if key not in _NOT_PREPARED}
