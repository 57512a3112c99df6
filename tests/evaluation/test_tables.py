from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from wsvis_core.config import TableRow
from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.tables import label_values, mask_values, row_name, table_lines, track_values, write_table


def label_metrics(ap50: float, *, frames: int = 4, predictions: int = 6) -> dict:
    """What `score_pseudo_labels` writes, with values in the whole set that the table must not take."""
    rest = {"AP50": ap50, "AP75": ap50 / 2, "frames": frames, "predictions": predictions}
    rest["diagnostics"] = {"mean_best_iou": 0.4, "missed_share": 0.3}
    return {"AP50": 0.99, "AP75": 0.99, "selection": None, "rest": rest}


def frame_metrics(ap50: float) -> dict:
    return {"AP50": ap50, "AP75": ap50 / 4, "instances_per_frame": {"0.05": 3.0, "0.5": 1.5}}


def consistency_metrics(tc: float) -> dict:
    return {"TC": tc, "AP50": 0.99, "pairs": 5, "TC_by_threshold": {"0.05": tc, "0.5": tc / 2}}


def labels_table(**values: list[float]) -> list[dict[str, str]]:
    rows = [TableRow(name) for name in values]
    return table_lines("table4", rows, [[label_values(label_metrics(v)) for v in runs] for runs in values.values()])


def masks_table(table: str, rows: dict[TableRow, list[tuple[float, float]]]) -> list[dict[str, str]]:
    runs = [[mask_values(frame_metrics(a), consistency_metrics(c)) for a, c in values] for values in rows.values()]
    return table_lines(table, list(rows), runs)


def test_mean_error_and_gain_by_hand():
    rows = labels_table(irn=[0.1, 0.2, 0.3], mine=[0.2, 0.2, 0.5])
    assert [row["labeller"] for row in rows] == ["irn", "mine"] and rows[0]["replicates"] == "3"
    assert rows[0]["AP50_mean"] == "0.2000" and rows[0]["AP50_se"] == "0.0577"  # sd 0.1 / √3
    assert rows[1]["AP50_mean"] == "0.3000" and rows[1]["AP75_mean"] == "0.1500"
    # Gains 0.1, 0.0, 0.2: their own spread counts, not that of the rows.
    assert rows[1]["gain_mean"] == "0.1000" and rows[1]["gain_se"] == "0.0577"
    assert rows[0]["gain_mean"] == "0.0000" and rows[0]["gain_se"] == "0.0000"
    assert rows[0]["instances_per_frame_mean"] == "1.5000" and rows[0]["missed_share_mean"] == "0.3000"
    assert [rows[1][f"AP50_{n}"] for n in (1, 2, 3)] == ["0.2000", "0.2000", "0.5000"]


def test_the_papers_numbers_stand_beside_known_labellers_only():
    irn, flowirn, mine = labels_table(irn=[0.1], flowirn=[0.1], mine=[0.1])
    assert irn["paper_AP50"] == "0.2542" and irn["paper_gain"] == "0.0000"
    assert flowirn["paper_gain"] == "0.0303"
    assert mine["paper_AP50"] == mine["paper_gain"] == ""
    assert not any("TC" in name for name in irn)


def test_table_5_is_about_segmenters_on_one_kind_of_labels():
    rows = masks_table(
        "table5",
        {
            TableRow("flowirn", "maskrcnn"): [(0.4, 0.7), (0.5, 0.8)],
            TableRow("flowirn", "maskconsist"): [(0.45, 0.8), (0.57, 0.8)],
            TableRow("flowirn", "maskconsist", 1): [(0.5, 0.9), (0.6, 0.9)],
            TableRow("flowirn", "mine", 2): [(0.5, 0.9), (0.6, 0.9)],
        },
    )
    names = ["maskrcnn", "maskconsist", "maskconsist + self-training", "mine + self-training ×2"]
    assert [row["segmenter"] for row in rows] == names and {row["gain_over"] for row in rows} == {"maskrcnn"}
    full = rows[1]
    assert full["AP50_mean"] == "0.5100" and full["AP75_mean"] == "0.1275"
    assert full["gain_mean"] == "0.0600" and full["gain_se"] == "0.0100"  # gains 0.05 and 0.07
    assert full["TC_mean"] == "0.8000" and full["TC_gain_mean"] == "0.0500" and full["TC_gain_se"] == "0.0500"
    assert full["TC_at_0.5_mean"] == "0.4000" and "TC_at_0.05_mean" not in full
    assert full["instances_at_0.05_mean"] == "3.0000" and full["instances_at_0.5_mean"] == "1.5000"
    # Tables 5 and 6 of the paper, and AP75 and instances per frame of its text.
    assert full["paper_AP50"] == "0.3466" and full["paper_gain"] == "0.0323" and full["paper_TC"] == "0.8436"
    assert full["paper_AP75"] == "0.1206" and full["paper_instances_per_frame"] == "1.81"
    assert rows[2]["paper_AP50"] == "0.3600" and rows[2]["paper_gain"] == "0.0457" and rows[2]["paper_TC"] == ""
    assert rows[3]["paper_AP50"] == rows[3]["paper_gain"] == ""
    assert len({tuple(row) for row in rows}) == 1


def test_gains_of_table_6_are_over_the_same_labels():
    rows = masks_table(
        "table6",
        {
            TableRow("irn", "maskrcnn"): [(0.3, 0.7)],
            TableRow("irn", "maskconsist"): [(0.35, 0.8)],
            TableRow("flowirn", "maskrcnn"): [(0.5, 0.7)],
            TableRow("flowirn", "maskconsist"): [(0.6, 0.6)],
        },
    )
    assert [row["gain_mean"] for row in rows] == ["0.0000", "0.0500", "0.0000", "0.1000"]
    assert [row["TC_gain_mean"] for row in rows] == ["0.0000", "0.1000", "0.0000", "-0.1000"]
    assert [row["paper_gain"] for row in rows] == ["0.0000", "0.0187", "0.0000", "0.0323"]
    assert rows[1]["labels / segmenter"] == "irn / maskconsist"
    assert {row["gain_over"] for row in rows} == {"maskrcnn, same labels"}


def test_table_1_runs_from_irn_to_self_training():
    rows = [TableRow("irn", "maskrcnn"), TableRow("flowirn", "maskconsist"), TableRow("flowirn", "maskconsist", 1)]
    lines = masks_table("table1", dict.fromkeys(rows, [(0.3, 0.7)]))
    assert [line["paper_AP50"] for line in lines] == ["0.2964", "0.3466", "0.3600"]
    assert lines[2]["labels / segmenter"] == row_name("table1", rows[2]) == "flowirn / maskconsist + self-training"
    assert {line["gain_over"] for line in lines} == {"irn / maskrcnn"}


def track_metrics(value: float) -> dict:
    """What `score_tracks` writes, with metrics the table leaves out."""
    names = {"mAP": 1.0, "AP50": 2.0, "AP75": 0.5, "AR1": 0.8, "AR10": 0.9, "AR100": 1.0}
    return {name: factor * value for name, factor in names.items()} | {"per_category": [], "videos": 3}


def test_table_3_compares_masks_with_the_same_tracker(tmp_path):
    masks = (TableRow("irn", "maskrcnn"), TableRow("flowirn", "maskconsist"))
    rows = [replace(row, tracker=name) for row in masks for name in ("unovost", "deepsort")]
    paths = [tmp_path / f"{number}.json" for number in range(8)]  # four rows of two replicates
    values = (0.10, 0.20, 0.05, 0.05, 0.14, 0.26, 0.05, 0.07)
    for path, value in zip(paths, values, strict=True):
        path.write_text(json.dumps(track_metrics(value)))
    write_table("table3", rows, paths, [], tmp_path / "table3.csv")
    lines = written(tmp_path / "table3.csv")
    assert [line["labels / segmenter / tracker"] for line in lines] == [
        *("irn / maskrcnn / unovost", "irn / maskrcnn / deepsort"),
        *("flowirn / maskconsist / unovost", "flowirn / maskconsist / deepsort"),
    ]
    assert {line["gain_over"] for line in lines} == {"irn / maskrcnn"}
    ours = lines[2]
    assert (ours["mAP_mean"], ours["mAP_se"], ours["mAP_1"], ours["mAP_2"]) == ("0.2000", "0.0600", "0.1400", "0.2600")
    assert (ours["gain_mean"], ours["gain_se"]) == ("0.0500", "0.0100")  # mAP: 0.04 and 0.06
    assert (ours["AP50_mean"], ours["AP75_mean"], ours["AR1_mean"]) == ("0.4000", "0.1000", "0.1600")
    assert ours["AR10_mean"] == "0.1800" and not {"AR100_mean", "AP50_1", "TC_mean"} & set(ours)
    assert (ours["paper_mAP"], ours["paper_gain"], ours["paper_val_AR10"]) == ("0.1410", "0.0330", "0.1360")
    assert ours["paper_supervised_val_mAP"] == ""
    assert (lines[3]["paper_mAP"], lines[3]["paper_gain"]) == ("", "")
    assert lines[1]["paper_supervised_val_mAP"] == lines[3]["paper_supervised_val_mAP"] == "0.2610"


def test_tracks_of_a_round_of_self_training_and_no_ground_truth():
    row = TableRow("a", "x", 1, "mine")
    assert str(row) == "a/x@1/mine" and row_name("table3", row) == "a / x + self-training / mine"
    (line,) = table_lines("table3", [row], [[track_values(track_metrics(-1.0))]])
    assert line["mAP_mean"] == line["gain_mean"] == line["AR1_mean"] == ""


def test_one_unknown_value_leaves_its_mean_and_its_gain_empty_and_nothing_else():
    first, second = masks_table(
        "table5", {TableRow("a", "x"): [(0.4, 0.7), (0.5, 0.8)], TableRow("a", "y"): [(0.45, 0.8), (0.55, -1.0)]}
    )
    assert second["TC_mean"] == second["TC_se"] == second["TC_gain_mean"] == second["TC_gain_se"] == ""
    assert second["AP50_mean"] == "0.5000" and second["gain_mean"] == "0.0500" and first["TC_mean"] == "0.7500"
    unknown = masks_table("table5", {TableRow("a", "x"): [(-1.0, -1.0)]})[0]
    assert unknown["AP50_mean"] == unknown["AP50_1"] == unknown["gain_mean"] == unknown["AP75_mean"] == ""
    assert unknown["instances_at_0.5_mean"] == "1.5000"


def test_a_threshold_that_one_replicate_did_not_count_is_unknown():
    other = frame_metrics(0.1) | {"instances_per_frame": {"0.3": 2.0}}
    runs = [[mask_values(found, consistency_metrics(0.5)) for found in (frame_metrics(0.1), other)]]
    (line,) = table_lines("table5", [TableRow("a", "x")], runs)
    assert line["instances_at_0.05_mean"] == line["instances_at_0.3_mean"] == "" and line["AP50_mean"] == "0.1000"


def test_a_single_replicate_has_no_error():
    (row,) = labels_table(irn=[0.1])
    assert row["AP50_se"] == row["gain_se"] == "" and row["AP50_mean"] == "0.1000"


def test_without_frames_the_number_of_labels_is_zero():
    values = label_values(label_metrics(-1.0, frames=0, predictions=0))
    assert values["instances_per_frame"] == 0 and values["AP50"] is None


def test_no_video_left_is_an_error():
    with pytest.raises(WsvisError, match=r"no training video is left .* lower that share"):
        label_values(label_metrics(0.1) | {"rest": None})


def written(path) -> list[dict[str, str]]:
    with open(path) as stream:
        return list(csv.DictReader(stream))


def test_the_file_of_a_table_of_labels_has_a_row_per_labeller(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(label_metrics(0.25)))
    paths = [tmp_path / f"{name}.json" for name in ("a", "b")]
    write_table("table4", [TableRow("a"), TableRow("b")], paths, [], tmp_path / "table4.csv")
    rows = written(tmp_path / "table4.csv")
    assert [row["labeller"] for row in rows] == ["a", "b"] and rows[0]["AP50_mean"] == "0.2500"


def test_files_of_a_row_are_its_replicates_and_consistency_goes_with_its_own_masks(tmp_path):
    frames, consistency = [], []
    for number in range(4):  # two rows of two replicates
        frames.append(tmp_path / f"frames{number}.json")
        consistency.append(tmp_path / f"consistency{number}.json")
        frames[-1].write_text(json.dumps(frame_metrics(number / 10)))
        consistency[-1].write_text(json.dumps(consistency_metrics(0.5 + number / 10)))
    rows = [TableRow("a", "x"), TableRow("a", "y")]
    write_table("table5", rows, frames, consistency, tmp_path / "table5.csv")
    first, second = written(tmp_path / "table5.csv")
    assert (first["AP50_1"], first["AP50_2"], second["AP50_1"], second["AP50_2"]) == (
        *("0.0000", "0.1000"),
        *("0.2000", "0.3000"),
    )
    assert first["TC_mean"] == "0.5500" and second["TC_mean"] == "0.7500" and second["gain_mean"] == "0.2000"
    consistency[3].unlink()
    with pytest.raises(WsvisError, match=r"consistency3\.json does not exist; it is made by rule evaluate_consistency"):
        write_table("table5", rows, frames, consistency, tmp_path / "table5.csv")


def test_without_ground_truth_a_table_has_temporal_consistency_alone(tmp_path):
    (tmp_path / "none.json").write_text(json.dumps({"not_evaluated": "class labels only"}))
    (tmp_path / "tc.json").write_text(json.dumps({"TC": 0.5, "TC_by_threshold": {"0.05": 0.5}}))
    found = {}
    for table, row, consistency in (
        ("table4", TableRow("flowirn"), []),
        ("table3", TableRow("flowirn", "maskconsist", 0, "unovost"), []),
        ("table5", TableRow("flowirn", "maskconsist"), [tmp_path / "tc.json"]),
    ):
        write_table(table, [row], [tmp_path / "none.json"], consistency, tmp_path / "t.csv")
        [found[table]] = csv.DictReader((tmp_path / "t.csv").read_text().splitlines())
    assert found["table5"]["TC_mean"] == "0.5000"
    assert [name for row in found.values() for name in row if "AP50_mean" in name or "mAP_mean" in name] == []
