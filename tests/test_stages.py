from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from wsvis_core.config import Config, Section, build_section
from wsvis_core.stages import SHARDED, STAGES, stage_settings

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
# Every job there is, by stage and variants, for the labellers irn and flowirn.
VARIANTS = {
    "extract_flow": [{"flow": "dis"}],
    "make_label_maps": [{"labeller": "irn"}, {"labeller": "flowirn"}],
    "train_flowirn": [{"labeller": "irn"}, {"labeller": "flowirn"}],
    "make_pseudo_labels": [{"labeller": "irn"}, {"labeller": "flowirn"}],
    "train_maskconsist": [{"segmenter": "maskconsist", "round": "0"}, {"segmenter": "maskconsist", "round": "1"}],
    "show_transfers": [{"segmenter": "maskconsist", "round": "0"}, {"segmenter": "maskconsist", "round": "1"}],
    "predict_masks": [{"segmenter": "maskconsist", "shard": f"{split}-000"} for split in ("train", "val")],
    "track_instances": [{"tracker": "unovost"}],
    "estimate_quality": [{"tracker": "unovost", "round": "1"}],
}


def all_settings(*changes: tuple[str, object]) -> dict[str, str]:
    """Settings of every job as text, after setting dotted paths of the configuration."""
    raw = json.loads(json.dumps(CONFIG))
    for path, value in changes:
        *parents, key = path.split(".")
        place = raw
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = value
    config = Config(raw)
    return {
        " ".join([stage, *variant.values()]): json.dumps(stage_settings(config, stage, "demo", **variant))
        for stage in STAGES
        for variant in VARIANTS.get(stage, [{}])
    }


BEFORE = all_settings()
LABELLERS = ("irn", "flowirn")


def changed(path: str, value: object) -> set[str]:
    after = all_settings((path, value))
    return {job for job in BEFORE if after[job] != BEFORE[job]}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("tracking.max_tracks", 7, {"track_instances unovost"}),
        ("datasets.demo.tracking.max_tracks", 7, {"track_instances unovost"}),
        ("tracking.unovost.parent_rule", "nearest", {"track_instances unovost"}),
        ("tracking.appearance", "backbone", {"track_instances unovost"}),
        ("tracking.deepsort.max_age", 7, set()),
        ("tracking.backbone_weights", "weights.pt", set()),
        ("f_cam.A", 3, {"make_label_maps flowirn", "make_pseudo_labels flowirn"}),
        ("f_cam.seeds", "raw", {"make_pseudo_labels flowirn"}),
        ("f_cam.labels", False, {"make_label_maps flowirn"}),
        ("f_bound.lambda", 3, {"train_flowirn flowirn"}),
        ("f_bound.camera", "auto", {"train_flowirn flowirn"}),
        ("f_bound.camera", "keep", set()),
        ("f_cam.camera", "auto", {"make_label_maps flowirn", "make_pseudo_labels flowirn"}),
        ("label_maps.crf", "none", {f"make_label_maps {name}" for name in LABELLERS}),
        ("pseudo_labels.beta", 5, {f"make_pseudo_labels {name}" for name in LABELLERS}),
        ("datasets.demo.cam.epochs", 9, {"train_cam", "extract_cam"}),
        ("datasets.demo.cam.scales", [1.0], {"extract_cam"}),
        ("datasets.demo.stage1.long_side", 128, {"extract_cam"}),
        (
            "datasets.demo.stage1.irnet_scale",
            2.0,
            {f"{stage} {name}" for stage in ("train_flowirn", "make_pseudo_labels") for name in LABELLERS},
        ),
        ("flow.preset", "fast", {"extract_flow dis"}),
        ("flows.dis.preset", "fast", {"extract_flow dis"}),
        ("self_training.score_threshold", 0.7, {"train_maskconsist maskconsist 1", "show_transfers maskconsist 1"}),
        (
            "datasets.demo.prediction.max_detections",
            9,
            {"predict_masks maskconsist train-000", "predict_masks maskconsist val-000"},
        ),
        ("prediction.given_labels", False, {"predict_masks maskconsist train-000"}),
        ("evaluation.instance_count_thresholds", [0.3], {"evaluate_pseudo_labels", "evaluate_frames"}),
        ("evaluation.consistency_thresholds", [0.3], {"evaluate_consistency"}),
        ("evaluation.bootstrap_resamples", 10, {"evaluate_video"}),
        ("quality.calibration", "own.json", {"estimate_quality unovost 1"}),
        ("report.videos", 2, {"make_report"}),
        ("report.transfers", 2, {"show_transfers maskconsist 0", "show_transfers maskconsist 1"}),
        ("pipeline.rounds", 0, set()),
        ("datasets.demo.synthetic.num_videos", 20, {"generate_dataset"}),
        ("datasets.demo.split.seed", 3, {"prepare_dataset"}),
        ("datasets.demo.check_images", "header", {"prepare_dataset"}),
        ("datasets.demo.shards.train", 3, {job for job in BEFORE if job.split()[0] in SHARDED}),
        ("seed", 1, {job for job in BEFORE if job.startswith(("train_", "show_transfers"))}),
        ("datasets.ytvis.cam", {"epochs": 9}, set()),
        ("labellers.irn.f_cam", {"enabled": False, "A": 4}, set()),
        ("labellers.flowirn.f_cam", False, {"make_label_maps flowirn", "make_pseudo_labels flowirn"}),
    ],
)
def test_an_edit_changes_the_stages_it_must_and_no_other(path, value, expected):
    assert changed(path, value) == expected


def test_the_irn_labeller_does_not_see_flow_settings_at_all():
    edits = [("f_cam.A", 3), ("f_cam.order", "amplify_then_normalise"), ("f_bound.weight", 5), ("f_bound.clip", None)]
    after = all_settings(*edits)
    assert all(after[job] == BEFORE[job] for job in BEFORE if "irn" in job.split())


def test_networks_from_before_f_bound_had_a_camera_stay_valid():
    settings = stage_settings(Config(CONFIG), "train_flowirn", "demo", labeller="flowirn")
    assert "camera" not in settings["f_bound"] and "lambda" in settings["f_bound"]


def test_where_every_video_is_trained_on_held_out_shards_know_the_labels_too():
    raw = json.loads(json.dumps(CONFIG))
    raw["datasets"]["demo"].setdefault("split", {})["mode"] = "all"
    for mode, known in (("all", True), ("sampled", False)):
        raw["datasets"]["demo"]["split"]["mode"] = mode
        settings = stage_settings(Config(raw), "predict_masks", "demo", segmenter="maskconsist", shard="val-000")
        assert ("given_labels" in settings["prediction"]) == known


def test_self_training_settings_are_there_from_round_1_on():
    config = Config(CONFIG)
    settings = [
        stage_settings(config, "train_maskconsist", "demo", segmenter="maskconsist", round=str(number))
        for number in range(3)
    ]
    assert ["self_training" in item for item in settings] == [False, True, True] and settings[1] == settings[2]


# Settings younger than finished results: another value than the default, and the stages that it reruns.
SEGMENTER_STAGES = {"train_maskconsist", "show_transfers", "predict_masks"}
LATER = {
    "cam.initial_head": ("imagenet", {"train_cam", "extract_cam"}),
    "pseudo_labels.max_cover": (0.6, {"make_pseudo_labels"}),
    "maskconsist.head_lr_multiplier": (10.0, SEGMENTER_STAGES),
    "maskconsist.scale_jitter": ([0.8, 1.25], SEGMENTER_STAGES),
    "maskconsist.sampling": ("balanced", SEGMENTER_STAGES),
    "maskconsist.class_agnostic_masks": (True, SEGMENTER_STAGES),
}


@pytest.mark.parametrize("stage", ["train_cam", "make_pseudo_labels", "train_maskconsist", "predict_masks"])
def test_settings_younger_than_finished_results_go_without_saying(stage):
    """What Snakemake compares is to the letter what it was before there were these settings."""
    variant = VARIANTS.get(stage, [{}])[-1]
    config = Config(CONFIG)
    given = stage_settings(config, stage, "demo", **variant)
    names = {name: value for name, value in variant.items() if name not in ("round", "shard")}
    compared = {key.split(".")[0] for key in LATER} & set(given)
    assert compared
    for section in compared:
        values = Section.influences(config.section(section, "demo", **names))
        left_out = {key.split(".")[1] for key in (*LATER, *STAGES[stage].without) if key.startswith(f"{section}.")}
        assert set(values) >= left_out
        # So do the first kinds of labellers and segmenters.
        left_out |= {"kind"}
        assert given[section] == {key: value for key, value in values.items() if key not in left_out}


@pytest.mark.parametrize("key", LATER)
def test_another_value_of_them_reruns_their_stages_and_travels(key):
    section, name = key.split(".")
    value, stages = LATER[key]
    assert {job.split()[0] for job in changed(f"datasets.demo.{key}", value)} == stages
    raw = json.loads(json.dumps(CONFIG))
    raw["datasets"]["demo"].setdefault(section, {})[name] = value
    stage = sorted(stages)[0]
    config, variant = Config(raw), VARIANTS.get(stage, [{}])[0]
    settings = stage_settings(config, stage, "demo", **variant)[section]
    assert settings[name] == value
    assert getattr(build_section(section, settings), name) == (tuple(value) if isinstance(value, list) else value)


def test_a_segmenter_that_passes_labels_on_depends_on_no_detector():
    raw = json.loads(json.dumps(CONFIG))
    raw["datasets"]["demo"]["maskconsist"] |= {"iterations": 7, "sampling": "balanced"}
    for config in (Config(CONFIG), Config(raw)):
        settings = stage_settings(config, "predict_masks", "demo", segmenter="labels")
        assert settings["maskconsist"] == {"kind": "labels"}
        assert build_section("maskconsist", settings["maskconsist"]).kind == "labels"


@pytest.mark.parametrize("stage", STAGES)
def test_settings_are_sorted_plain_and_carry_the_version(stage, monkeypatch):
    variant = VARIANTS.get(stage, [{}])[-1]
    settings = stage_settings(Config(CONFIG), stage, "demo", **variant)
    assert list(settings) == sorted(settings) and settings["version"] == STAGES[stage].version
    assert json.loads(json.dumps(settings)) == settings
    raised = STAGES[stage].__class__(99, STAGES[stage].sections, STAGES[stage].seeded, STAGES[stage].without)
    monkeypatch.setitem(STAGES, stage, raised)
    assert stage_settings(Config(CONFIG), stage, "demo", **variant) == settings | {"version": 99}


@pytest.mark.parametrize("stage", STAGES)
def test_a_script_finds_every_section_it_asks_for_and_uses_all_it_gets(stage):
    asked = set(re.findall(r'settings\["(\w+)"\]', (ROOT / "workflow_scripts" / f"{stage}.py").read_text()))
    settings = stage_settings(Config(CONFIG), stage, "demo", **VARIANTS.get(stage, [{}])[-1])
    # The seed is taken up by `training_run`; the version is there to be compared only.
    assert asked | {"seed"} >= set(settings) - {"version"} and set(settings) >= asked
