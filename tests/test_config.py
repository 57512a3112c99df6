from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from wsvis_core.check import load_config
from wsvis_core.config import SECTIONS, Config, build_section
from wsvis_core.errors import WsvisError
from wsvis_core.maskconsist.transfer import TransferSettings
from wsvis_core.segmentation.build import transfer_from_settings

ROOT = Path(__file__).parents[1]
CONFIG_FILE = ROOT / "config.yaml"
VARIANTS = {
    "flows": {"dis": {}},
    "labellers": {"irn": {"f_cam": False, "f_bound": False, "flowirn": {"epochs": 3}}, "flowirn": {}},
    "segmenters": {"maskconsist": {}},
    "trackers": {"unovost": {}},
}

# algorithms.md, appendix A, columns for YouTube-VIS.
PAPER = {
    "stage1": {"long_side": 512},
    "cam": {
        "epochs": 5,
        "batch_size": 16,
        "lr": 0.1,
        "head_lr_multiplier": 10,
        "weight_decay": 1e-4,
        "momentum": 0,
        "resize_long": [320, 640],
        "crop": 512,
        "scales": [1, 0.5, 1.5, 2],
    },
    "label_maps": {
        "fg_threshold": 0.30,
        "bg_threshold": 0.05,
        "crf": "mean_field",
        "crf_gt_prob": 0.7,
        "crf_iterations": 10,
        "crf_position_std": 3,
        "crf_position_weight": 3,
        "crf_bilateral_std": 50,
        "crf_color_std": 5,
        "crf_bilateral_weight": 10,
    },
    "flowirn": {
        "radius": 10,
        "epochs": 6,
        "batch_size": 32,
        "lr": 0.1,
        "displacement_lr_multiplier": 10,
        "weight_decay": 1e-4,
        "rescale": [0.5, 1.5],
        "crop": 512,
    },
    "pseudo_labels": {
        "radius": 5,
        "centroid_iterations": 300,
        "cluster_threshold": 2.5,
        "beta": 10,
        "exp_times": 8,
        "background_threshold": 0.25,
        "min_area_fraction": 0.01,
    },
    "f_cam": {
        "A": 2,
        "percentile": 80,
        "order": "normalise_then_amplify",
        "labels": True,
        "seeds": "saturate",
        "min_motion_px": 0,
    },
    "f_bound": {
        "lambda": 2,
        "weight": 1,
        "fprime": "jacobian",
        "difference": "forward",
        "pair_cost": "endpoint",
        "pairs": "all",
        "reduce": "mean",
        "flow_units": "native",
        "flow_value_scale": 1,
        "clip": 20,
    },
    "maskconsist": {
        "backbone": "resnet50",
        "iterations": 90_000,
        "steps": [0.75, 0.88],
        "lr": 0.002,
        "gamma": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "warmup_iterations": 1000,
        "pairs_per_step": 1,
        "short_side": 480,
        "max_side": 1333,
        "score_threshold": 0.05,
        "nms_threshold": 0.5,
        "max_detections": 100,
        "mask_threshold": 0.5,
        "intra_box_iou": 0.5,
        "gate_box_iou": 0.5,
        "iom_threshold": 0.5,
        "min_edge": 0,
        "class_aware_iom": True,
        "shared_matching": False,
        "match_stride": 1,
        "start_iteration": 0,
        "empty_targets": "drop",
    },
    "prediction": {
        "short_side": 480,
        "max_side": 1333,
        "score_threshold": 0.05,
        "nms_threshold": 0.5,
        "max_detections": 100,
        "mask_threshold": 0.5,
    },
    "self_training": {"score_threshold": 0.5, "fallback_threshold": 0.05},
    "tracking": {
        "kind": "unovost",
        "min_score": 0.05,
        "overlap_threshold": 0.2,
        "overlap_measure": "iou",
        "max_tracks": 20,
        "appearance": "box_head",
        "category": "summed_score",
        "unovost": {
            "link_threshold": 0.05,
            "link_long_side": None,
            "assignment": "hungarian",
            "keep_last_frame": True,
            "merge": True,
            "parent_rule": "published",
            "cover_measure": "published",
            "cover_weight": 0.9,
            "appearance_weight": 0.1,
            "ranking": "score",
        },
    },
    "pipeline": {"rounds": 1},
}


def config(raw: dict[str, Any] | None = None, block: dict[str, Any] | None = None) -> Config:
    """A configuration with one data set `d`."""
    return Config({**VARIANTS, "datasets": {"d": {"root": "data/d", **(block or {})}}, **(raw or {})})


def message(raw: dict[str, Any] | None = None, block: dict[str, Any] | None = None) -> str:
    with pytest.raises(WsvisError) as caught:
        config(raw, block)
    return str(caught.value)


@pytest.mark.parametrize("section", PAPER)
def test_defaults_are_the_papers(section):
    settings = config().stage([section], "d")[section]
    assert {key: settings[key] for key in PAPER[section]} == PAPER[section]


def test_defaults_of_the_other_trackers_are_published_or_those_for_weak_detectors():
    tracking = config().section("tracking", "d")
    iou, deepsort, masktrack = (getattr(tracking, name).model_dump() for name in ("iou", "deepsort", "masktrack"))
    assert iou | {"min_iou": 0.5, "min_best_score": 0.05, "min_length": 1} == iou
    published = {"max_appearance_distance": 0.2, "gate": 9.4877, "max_iou_distance": 0.7, "max_age": 30}
    assert deepsort | published | {"gallery": None, "position_std": 1 / 20, "velocity_std": 1 / 160} == deepsort
    assert deepsort["confirm_hits"] == 1
    assert masktrack | {"max_proposals": 10, "score_weight": 1, "iou_weight": 2, "class_weight": 10} == masktrack


def test_a_tracker_sees_its_own_settings_only_and_merges_them_with_the_variants():
    raw = {
        "tracking": {"deepsort": {"max_age": 9, "gate": 7}},
        "trackers": {
            "unovost": {},
            "mine": {"kind": "deepsort", "deepsort": {"gate": 5}},
            "iou_tracker": {"kind": "iou"},
        },
    }
    whole = config(raw)
    seen = {name: whole.stage(["tracking"], "d", tracker=name)["tracking"] for name in raw["trackers"]}
    assert (seen["mine"]["deepsort"]["max_age"], seen["mine"]["deepsort"]["gate"]) == (9, 5)
    kinds = {"unovost", "iou", "deepsort", "masktrack"}
    assert [kinds & set(seen[name]) for name in seen] == [{"unovost"}, {"deepsort"}, {"iou"}]
    assert "appearance" in seen["mine"] and "appearance" not in seen["iou_tracker"]
    assert not any("backbone" in values for values in seen.values())
    features = config({"tracking": {"appearance": "backbone", "backbone_weights": "w.pt"}})
    assert features.stage(["tracking"], "d")["tracking"]["backbone_weights"] == "w.pt"
    assert build_section("tracking", seen["mine"]) == whole.section("tracking", "d", tracker="mine")


def test_untrained_features_are_refused():
    found = message({"tracking": {"appearance": "backbone", "backbone_weights": "none"}})
    assert "features of an untrained network tell nothing; give the path of a state dict" in found


def test_maskconsist_rates_drop_where_the_paper_says():
    settings = config().section("maskconsist", "d")
    assert [share * settings.iterations for share in settings.steps] == [67_500, 79_200]


def test_the_projects_config_has_the_papers_values_for_youtube_vis():
    project = load_config([CONFIG_FILE])
    for section, values in PAPER.items():
        settings = project.stage([section], "ytvis")[section]
        assert {key: settings[key] for key in values} == values
    split = project.datasets["ytvis"].split
    assert (split.mode, split.val_per_category, split.target_union) == ("sampled", 10, 390)


def test_the_projects_config_has_the_issue_s_variants():
    project = load_config([CONFIG_FILE])
    assert project.variants("labellers") == ["irn", "irn_fbound", "irn_fcam", "flowirn"]
    names = ["labels", "maskrcnn", "maskconsist", "maskconsist_no_intra", "maskconsist_no_inter", "maskconsist_no_iom"]
    names.append("maskconsist_literal")
    assert project.variants("segmenters") == [*names, "maskrcnn_detectron2", "maskconsist_detectron2"]
    switches = {
        name: [project.section("f_cam", "ytvis", labeller=name).enabled]
        + [project.section("f_bound", "ytvis", labeller=name).enabled]
        for name in project.variants("labellers")
    }
    assert switches == {
        "irn": [False, False],
        "irn_fbound": [False, True],
        "irn_fcam": [True, False],
        "flowirn": [True, True],
    }
    parts = ("intra_frame", "inter_frame", "iom_nms")
    settings = {name: project.section("maskconsist", "ytvis", segmenter=name) for name in names}
    off = {name: [part for part in parts if not getattr(value, part)] for name, value in settings.items()}
    assert off == {
        "labels": [],
        "maskrcnn": list(parts),
        "maskconsist": [],
        "maskconsist_literal": [],
        "maskconsist_no_intra": ["intra_frame"],
        "maskconsist_no_inter": ["inter_frame"],
        "maskconsist_no_iom": ["iom_nms"],
    }


@pytest.mark.parametrize("dataset", ["ytvis", "demo"])
def test_every_key_of_the_projects_config_takes_effect(dataset):
    raw = yaml.safe_load(CONFIG_FILE.read_text())
    project = Config(raw)
    for section in set(SECTIONS) & set(raw["datasets"][dataset]):
        block = raw["datasets"][dataset][section]
        assert {key: project.stage([section], dataset)[section][key] for key in block} == block


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_an_unknown_key_names_the_nearest():
    assert message({"cam": {"epoch": 3}}) == (
        "config.yaml: cam of data set 'd': unknown key 'epoch'; did you mean 'epochs'?; known keys: "
        "backbone, backbone_weights, batch_size, crop, epochs, frozen_stages, head_lr_multiplier, initial_head, lr, "
        "momentum, optimizer, output_stride, poly_power, precision, resize_long, scales, weight_decay"
    )


@pytest.mark.parametrize(
    ("raw", "block", "start"),
    [
        ({"trackng": {}}, {}, "config.yaml: unknown key 'trackng'; did you mean 'tracking'?; known keys: "),
        ({}, {"rot": "x"}, "config.yaml: datasets.d: unknown key 'rot'; did you mean 'root'?"),
        ({}, {"f_cam": {"a_": 1}}, "config.yaml: f_cam of data set 'd': unknown key 'a_'"),
        ({}, {"split": {"mod": "all"}}, "config.yaml: datasets.d: split: unknown key 'mod'; did you mean 'mode'?"),
        (
            {"tracking": {"deepsort": {"maxage": 3}}},
            {},
            "config.yaml: tracking of data set 'd': deepsort: unknown key 'maxage'; did you mean 'max_age'?",
        ),
        (
            {"trackers": {"unovost": {"iou": {"min_io": 0.1}}}},
            {},
            "config.yaml: trackers.unovost: iou: unknown key 'min_io'; did you mean 'min_iou'?",
        ),
        (
            {"labellers": {**VARIANTS["labellers"], "x": {"fcam": False}}},
            {},
            "config.yaml: labellers.x: unknown key 'fcam'; did you mean 'f_cam'?",
        ),
        (
            {"labellers": {**VARIANTS["labellers"], "x": {"f_bound": {"lambd": 1}}}},
            {},
            "config.yaml: labellers.x.f_bound: unknown key 'lambd'; did you mean 'lambda'?",
        ),
        (
            {"segmenters": {"maskconsist": {"inter_frames": False}}},
            {},
            "config.yaml: segmenters.maskconsist: unknown key 'inter_frames'; did you mean 'inter_frame'?",
        ),
        ({"f_bound": {"lambda_": 1}}, {}, "config.yaml: f_bound of data set 'd': unknown key 'lambda_'"),
    ],
)
def test_unknown_keys_everywhere(raw, block, start):
    assert message(raw, block).startswith(start)


@pytest.mark.parametrize(
    ("section", "values", "expected"),
    [
        (
            "f_cam",
            {"A": 0.5},
            "A = 0.5: Input should be greater than or equal to 1 (amplification (paper: 2 on YouTube-VIS, 5 on "
            "Cityscapes))",
        ),
        ("cam", {"lr": 0}, "lr = 0: Input should be greater than 0"),
        ("cam", {"lr": float("nan")}, "lr = nan: Input should be a finite number"),
        ("f_bound", {"weight": float("inf")}, "weight = inf: Input should be a finite number (of Eq. 3 beside IRN's "),
        ("cam", {"output_stride": 4}, "output_stride = 4: Input should be 8, 16 or 32"),
        ("cam", {"backbone": "vgg"}, "backbone = 'vgg': Input should be 'resnet50', 'resnet34', 'resnet18' or"),
        ("cam", {"scales": []}, "scales = []: Tuple should have at least 1 item after validation, not 0"),
        ("cam", {"scales": [1, -1]}, "scales.1 = -1: Input should be greater than 0"),
        (
            "cam",
            {"resize_long": [640, 320]},
            "resize_long = [640, 320]: Value error, the first number must not be greater than the second",
        ),
        ("flowirn", {"rescale": [1.5, 0.5]}, "rescale = [1.5, 0.5]: Value error, the first number must not be"),
        ("maskconsist", {"pre_nms": [0, 5]}, "pre_nms.0 = 0: Input should be greater than or equal to 1"),
        ("tracking", {"max_tracks": 2.5}, "max_tracks = 2.5: Input should be a valid integer"),
        ("report", {"videos": "many"}, "videos = 'many': Input should be a valid integer"),
    ],
)
def test_a_value_out_of_range_names_file_section_key_value_and_range(section, values, expected):
    assert message({section: values}).startswith(f"config.yaml: {section} of data set 'd': {expected}")
    assert message({}, {section: values}).startswith(f"config.yaml: {section} of data set 'd': {expected}")


def test_all_bad_values_of_a_section_are_told_at_once():
    lines = message({"cam": {"lr": -1, "crop": 3}}).splitlines()
    assert len(lines) == 2 and "lr = -1" in lines[0] and "crop = 3" in lines[1]


@pytest.mark.parametrize(
    ("raw", "start"),
    [
        ({"cam": 3}, "config.yaml: cam of data set 'd' must be a mapping of settings, not 3"),
        ({"datasets": [1]}, "config.yaml: datasets must be a mapping of names to settings, not [1]"),
        ({"datasets": {"d": 1}}, "config.yaml: datasets.d must be a mapping of settings, not 1"),
        ({"datasets": {"d": {}}}, "config.yaml: datasets.d: key 'root' is missing (folder of the data set"),
        (
            {"datasets": {"d": {"kind": "synthetic", "root": "data/e"}}},
            "config.yaml: datasets.d: root = 'data/e': a generated data set is written to data/<its name>, "
            "here 'data/d'",
        ),
        ({"labellers": {"x": 1}}, "config.yaml: labellers.x must be a mapping of settings, not 1"),
        ({"labellers": {"x": {"f_cam": 1}}}, "config.yaml: labellers.x.f_cam must be a mapping of settings, not 1"),
        ({"seed": -1}, "config.yaml: seed: -1 is not a whole number ≥ 0"),
        ({"seed": True}, "config.yaml: seed: True is not a whole number ≥ 0"),
    ],
)
def test_values_of_the_wrong_kind(raw, start):
    assert message(raw).startswith(start)


def test_a_configuration_that_is_no_mapping():
    with pytest.raises(WsvisError, match="mine.yaml: the configuration must be a mapping of settings, not 3"):
        Config(3, source="mine.yaml")


@pytest.mark.parametrize(
    ("key", "value", "group", "near"),
    [
        ("flow", "disk", "flows (dis)", "; did you mean 'dis'?"),
        ("labeller", "flowirm", "labellers (irn, flowirn)", "; did you mean 'flowirn'?"),
        ("segmenter", "xyz", "segmenters (maskconsist)", ""),
        ("tracker", "unovos", "trackers (unovost)", "; did you mean 'unovost'?"),
    ],
)
def test_a_pipeline_of_an_unknown_variant(key, value, group, near):
    expected = f"config.yaml: data set 'd' asks for '{value}', which is not one of the {group}{near}"
    assert message({"pipeline": {key: value}}) == expected
    assert message({}, {"pipeline": {key: value}}) == expected


def test_a_compared_labeller_must_exist_too():
    assert "asks for 'wise'" in message({"pipeline": {"compare_labellers": ["irn", "wise"]}})


def test_a_compared_segmenter_must_exist_too():
    segmenters = {"segmenters": {"maskconsist": {}, "labels": {"kind": "labels"}}}
    pipeline = {"pipeline": {"compare_segmenters": ["labels", "lables"]}}
    expected = (
        "config.yaml: data set 'd' asks for 'lables', which is not one of the segmenters (maskconsist, labels); "
        "did you mean 'labels'?"
    )
    assert message({**segmenters, **pipeline}) == message(segmenters, pipeline) == expected


def test_labels_that_are_passed_on_cannot_be_trained_again():
    segmenters = {"segmenters": {"maskconsist": {}, "labels": {"kind": "labels"}}}
    assert message(segmenters, {"pipeline": {"segmenter": "labels", "rounds": 1}}) == (
        "config.yaml: pipeline of data set 'd': segmenter 'labels' passes the pseudo-labels on and learns nothing, so "
        "rounds = 1 of self-training is not possible; set rounds to 0 or choose another segmenter"
    )
    # By its kind, whatever its name; beside a detector that is trained again it has its one round.
    own = {"segmenters": {"maskconsist": {}, "direct": {"kind": "labels"}}}
    assert "segmenter 'direct' passes" in message(own, {"pipeline": {"segmenter": "direct"}})
    for pipeline in (
        {"segmenter": "labels", "rounds": 0},
        {"rounds": 2, "compare_segmenters": ["labels"]},
        {"rounds": 0, "compare_segmenters": ["labels"]},
    ):
        known = config(segmenters, {"split": {"mode": "all"}, "pipeline": pipeline})
        assert known.section("pipeline", "d").rounds == pipeline["rounds"]


def test_held_out_videos_choose_no_route():
    segmenters = {"segmenters": {"maskconsist": {}, "labels": {"kind": "labels"}}}
    said = message(segmenters, {"pipeline": {"rounds": 0, "compare_segmenters": ["labels"]}})
    assert said == (
        "config.yaml: pipeline of data set 'd': compare_segmenters chooses by the class labels of the videos that are "
        "looked at, which nothing may know of held-out ones; set split: {mode: all}, or leave compare_segmenters out "
        "and ask for the tracks of each segmenter by its path"
    )


def test_a_table_asks_for_no_later_round_of_labels():
    segmenters = {"segmenters": {"maskconsist": {}, "labels": {"kind": "labels"}}}
    said = message(segmenters, {"tables": {"table5": ["labels", "labels@1"]}})
    assert said == (
        "config.yaml: tables.table5 of data set 'd': flowirn/labels@1: segmenter 'labels' passes the pseudo-labels on "
        "and learns nothing, so it has no later round; leave the '@' out"
    )


def test_a_jitter_of_scales_is_a_range():
    said = message({"maskconsist": {"scale_jitter": [1.5, 0.5]}})
    assert said.startswith(
        "config.yaml: maskconsist of data set 'd': scale_jitter = [1.5, 0.5]: Value error, the first number must not be"
    )


def test_unknown_names_in_a_question():
    with pytest.raises(WsvisError, match=r"data set 'e' is not in config.yaml: it has d"):
        config().section("cam", "e")
    with pytest.raises(WsvisError, match=r"labeller 'irm' is not one of the labellers in config.yaml; did you mean 'i"):
        config().section("f_cam", "d", labeller="irm")


# ---- merging --------------------------------------------------------------------------------------------------------


def test_later_layers_win():
    made = config(
        {"f_cam": {"A": 3, "percentile": 70}, "labellers": {**VARIANTS["labellers"], "x": {"f_cam": {"A": 5}}}},
        {"f_cam": {"A": 4}},
    )
    plain, variant = made.section("f_cam", "d"), made.section("f_cam", "d", labeller="x")
    assert (plain.A, plain.percentile, plain.order) == (4, 70, "normalise_then_amplify")
    assert (variant.A, variant.percentile) == (5, 70)


def test_a_data_set_s_block_leaves_the_others_alone():
    made = Config(
        {**VARIANTS, "datasets": {"a": {"root": "a", "cam": {"crop": 64}}, "b": {"root": "b"}}, "cam": {"epochs": 2}}
    )
    assert (made.section("cam", "a").crop, made.section("cam", "b").crop) == (64, 512)
    assert made.section("cam", "a").epochs == made.section("cam", "b").epochs == 2


def test_variants_touch_only_their_own_section():
    made = config({"flows": {"dis": {}, "quick": {"preset": "ultrafast"}}})
    assert made.section("flow", "d", flow="quick").preset == "ultrafast"
    assert made.section("flow", "d").preset == "medium"
    assert made.section("cam", "d", flow="quick") == made.section("cam", "d")


def test_false_switches_a_section_of_a_labeller_off():
    made = config({}, {"f_cam": {"A": 5}})
    off = made.section("f_cam", "d", labeller="irn")
    assert not off.enabled and off.A == 5
    assert made.section("f_cam", "d", labeller="flowirn").enabled
    assert made.section("flowirn", "d", labeller="irn").epochs == 3


def test_true_switches_it_on_again():
    made = config({"labellers": {**VARIANTS["labellers"], "x": {"f_cam": True}}}, {"f_cam": {"enabled": False}})
    assert made.section("f_cam", "d", labeller="x").enabled and not made.section("f_cam", "d").enabled


def test_lambda_goes_by_its_real_name():
    made = config({"f_bound": {"lambda": 3}})
    assert made.section("f_bound", "d").lambda_ == 3
    dumped = made.stage(["f_bound"], "d")["f_bound"]
    assert dumped["lambda"] == 3 and "lambda_" not in dumped
    assert build_section("f_bound", dumped) == made.section("f_bound", "d")


def test_a_users_file_is_merged_over_the_project_s(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("datasets:\n  demo: {cam: {crop: 64}}\n  own: {root: /data/own}\nf_cam: {A: 5}\nseed: 7\n")
    merged, project = load_config([CONFIG_FILE, mine]), load_config([CONFIG_FILE])
    assert merged.seed == 7 and project.seed == 0
    assert merged.section("cam", "demo").crop == 64
    assert merged.section("cam", "demo").backbone == project.section("cam", "demo").backbone == "resnet_tiny"
    assert merged.section("f_cam", "own").A == merged.section("f_cam", "ytvis").A == 5
    assert merged.datasets["own"].root == "/data/own" and merged.datasets["ytvis"].root == "data/ytvis"
    assert set(merged.datasets) == {*project.datasets, "own"}
    mine.write_text("f_cam: {A: 0}")
    with pytest.raises(WsvisError) as caught:
        load_config([CONFIG_FILE, mine])
    assert str(caught.value).startswith(f"{CONFIG_FILE} + {mine}: f_cam of data set 'ytvis': A = 0:")


# ---- what travels through params ------------------------------------------------------------------------------------


def assert_plain(value: Any) -> None:
    assert type(value) in (dict, list, str, int, float, bool, type(None)), value
    if isinstance(value, dict):
        assert list(value) == sorted(value)
        for item in value.values():
            assert_plain(item)
    elif isinstance(value, list):
        for item in value:
            assert_plain(item)


@pytest.mark.parametrize("dataset", ["ytvis", "demo"])
def test_stage_gives_plain_sorted_json_types_that_build_the_same_models(dataset):
    project = load_config([CONFIG_FILE])
    settings = project.stage(SECTIONS, dataset)
    assert_plain(settings)
    assert json.loads(json.dumps(settings)) == settings
    for section in SECTIONS:
        assert build_section(section, settings[section]) == project.section(section, dataset)


def test_a_section_that_is_off_collapses():
    assert config().stage(["f_cam"], "d", labeller="irn") == {"f_cam": {"enabled": False}, "seed": 0}
    assert config({"f_cam": {"A": 4}}).stage(["f_cam"], "d", labeller="irn")["f_cam"] == {"enabled": False}
    assert not build_section("f_cam", {"enabled": False}).enabled


def test_the_order_of_keys_in_the_file_does_not_matter():
    one, two = {"lr": 1, "crop": 64}, {"crop": 64, "lr": 1}
    assert json.dumps(config({"cam": one}).stage(["cam"], "d")) == json.dumps(config({"cam": two}).stage(["cam"], "d"))


def test_a_number_written_as_text_or_in_another_form_is_the_same_setting():
    """YAML reads 1e-4 as text and 5 as an integer; neither may cause a rerun."""
    same = [{"weight_decay": 1e-4, "epochs": 5}, {"weight_decay": "1e-4", "epochs": 5.0}]
    dumped = [json.dumps(config({"cam": values}).stage(["cam"], "d")) for values in same]
    assert dumped[0] == dumped[1] == json.dumps(config().stage(["cam"], "d"))


def test_the_settings_reference_is_up_to_date():
    spec = importlib.util.spec_from_file_location("write_settings_doc", ROOT / "tools" / "write_settings_doc.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert (ROOT / "docs" / "settings.md").read_text() == tool.settings_markdown()


@pytest.mark.parametrize("name", ["cam", "a/b", "label_maps", "two words"])
def test_a_variant_name_that_cannot_be_a_folder_of_its_own_is_refused(name: str) -> None:
    raw = {"labellers": {name: {}}, "datasets": {}}
    with pytest.raises(WsvisError, match=f"labellers: .*{name}"):
        Config(raw, source="mine.yaml")


def test_a_gradient_scale_must_be_positive() -> None:
    with pytest.raises(WsvisError, match="gradient_scale = 0"):
        Config({"labellers": {"odd": {"f_bound": {"gradient_scale": 0}}}, "datasets": {}}, source="mine.yaml")


def test_a_data_set_may_have_a_seed_of_its_own() -> None:
    raw = {"seed": 3, "datasets": {"a": {"root": "x"}, "b": {"root": "x", "seed": 0}}}
    config = Config({**VARIANTS, **raw})
    assert [config.stage(["cam"], name)["seed"] for name in ("a", "b")] == [3, 0]


def test_the_default_table_need_not_fit_but_a_stated_one_must() -> None:
    raw = {"datasets": {"a": {"root": "x"}}}
    config = Config({**VARIANTS, **raw})
    with pytest.raises(WsvisError, match="data set 'a' asks for 'irn_fbound', which is not one of the labellers"):
        config.table_rows("table4", "a")
    with pytest.raises(WsvisError, match="data set 'a' asks for 'xyz', which is not one of the labellers"):
        Config({**VARIANTS, **raw, "tables": {"table4": ["xyz"]}})
    with pytest.raises(WsvisError, match="datasets.a: replicates: 'b' is not one of the datasets"):
        Config({**VARIANTS, "datasets": {"a": {"root": "x", "replicates": ["b"]}}})


def test_rows_of_the_tables() -> None:
    datasets = {"a": {"root": "x", "pipeline": {"labeller": "irn", "rounds": 0}}}
    tables = {"table1": ["flowirn/maskrcnn", "irn/maskconsist@3"], "table5": ["maskrcnn", "maskconsist@0"]}
    tables["table6"] = {"labellers": ["flowirn", "irn"]}
    tables["table3"] = {"masks": ["irn/maskrcnn", "flowirn/maskconsist@1"], "trackers": ["unovost"]}
    variants = {"labellers": {"irn": {}, "flowirn": {}}, "segmenters": {"maskrcnn": {}, "maskconsist": {}}}
    config = Config({**VARIANTS, **variants, "datasets": datasets, "tables": tables})

    def rows(table: str) -> list[str]:
        return [str(row) for row in config.table_rows(table, "a")]

    assert rows("table1") == ["flowirn/maskrcnn", "irn/maskconsist@3"]
    assert rows("table5") == ["irn/maskrcnn", "irn/maskconsist"]
    assert rows("table3") == ["irn/maskrcnn/unovost", "flowirn/maskconsist@1/unovost"]
    assert rows("table6") == ["flowirn/maskrcnn", "flowirn/maskconsist", "irn/maskrcnn", "irn/maskconsist"]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"table1": ["maskrcnn"]},
            "mine.yaml: tables.table1 of data set 'a': 'maskrcnn' must be 'labeller/segmenter', or "
            "'labeller/segmenter@round' for a round of self-training from 0 to 9, such as 'flowirn/maskconsist@1'",
        ),
        (
            {"table5": ["maskrcnn@x"]},
            "mine.yaml: tables.table5 of data set 'a': 'maskrcnn@x' must be 'segmenter', or "
            "'segmenter@round' for a round of self-training from 0 to 9, such as 'maskconsist@1'",
        ),
        (
            {"table5": ["maskrcnn", "maskrcnn@0"]},
            "mine.yaml: tables.table5 of data set 'a' has flowirn/maskrcnn twice; name it once",
        ),
        (
            {"table3": {"masks": ["irn/maskrcnn"], "trackers": ["unovos"]}},
            "mine.yaml: data set 'a' asks for 'unovos', which is not one of the trackers (unovost); "
            "did you mean 'unovost'?",
        ),
        (
            {"table3": {"mask": ["irn/maskrcnn"]}},
            "mine.yaml: tables of data set 'a': table3: unknown key 'mask'; did you mean 'masks'?; "
            "known keys: masks, trackers",
        ),
        (
            {"table6": {"segmenters": ["maskrcn"]}},
            "mine.yaml: data set 'a' asks for 'maskrcn', which is not one of the segmenters (maskrcnn, maskconsist); "
            "did you mean 'maskrcnn'?",
        ),
    ],
)
def test_a_row_that_does_not_exist_is_named(tables, message) -> None:
    variants = {"labellers": {"irn": {}, "flowirn": {}}, "segmenters": {"maskrcnn": {}, "maskconsist": {}}}
    with pytest.raises(WsvisError) as caught:
        Config({**VARIANTS, **variants, "datasets": {"a": {"root": "x"}}, "tables": tables}, source="mine.yaml")
    assert str(caught.value) == message


def test_the_literal_segmenter_is_the_paper_on_every_data_set():
    project = load_config([CONFIG_FILE])
    for dataset in project.datasets:
        chosen = transfer_from_settings(project.section("maskconsist", dataset, segmenter="maskconsist_literal"))
        assert chosen == TransferSettings()
        assert project.section("maskconsist", dataset, segmenter="maskconsist_literal").start_iteration == 0
        ours = transfer_from_settings(project.section("maskconsist", dataset, segmenter="maskconsist"))
        assert ours == TransferSettings(merge_rule="intersection", min_candidate_score=0.3, min_edge=0.3)
