from __future__ import annotations

import csv
import json

import pytest

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.tables import table4, write_table4


def metrics(ap50: float, *, frames: int = 4, predictions: int = 6) -> dict:
    """What `score_pseudo_labels` writes, with values in the whole set that the table must not take."""
    rest = {"AP50": ap50, "AP75": ap50 / 2, "frames": frames, "predictions": predictions}
    rest["diagnostics"] = {"mean_best_iou": 0.4, "missed_share": 0.3}
    return {"AP50": 0.99, "AP75": 0.99, "selection": None, "rest": rest}


def test_mean_error_and_gain_by_hand():
    rows = table4(
        {"irn": [metrics(0.1), metrics(0.2), metrics(0.3)], "mine": [metrics(0.2), metrics(0.2), metrics(0.5)]}
    )
    assert [row["labeller"] for row in rows] == ["irn", "mine"] and rows[0]["replicates"] == "3"
    assert rows[0]["AP50_mean"] == "0.2000" and rows[0]["AP50_se"] == "0.0577"  # sd 0.1 / √3
    assert rows[1]["AP50_mean"] == "0.3000" and rows[1]["AP75_mean"] == "0.1500"
    # Gains 0.1, 0.0, 0.2: their own spread counts, not that of the rows.
    assert rows[1]["gain_mean"] == "0.1000" and rows[1]["gain_se"] == "0.0577"
    assert rows[0]["gain_mean"] == "0.0000" and rows[0]["gain_se"] == "0.0000"
    assert rows[0]["instances_per_frame_mean"] == "1.5000" and rows[0]["missed_share_mean"] == "0.3000"
    assert [rows[1][f"AP50_{n}"] for n in (1, 2, 3)] == ["0.2000", "0.2000", "0.5000"]


def test_the_papers_numbers_stand_beside_known_labellers_only():
    irn, flowirn, mine = table4({name: [metrics(0.1)] for name in ("irn", "flowirn", "mine")})
    assert irn["paper_AP50"] == "0.2542" and irn["paper_gain"] == "0.0000"
    assert flowirn["paper_gain"] == "0.0303"
    assert mine["paper_AP50"] == mine["paper_gain"] == ""


def test_a_single_replicate_has_no_error():
    (row,) = table4({"irn": [metrics(0.1)]})
    assert row["AP50_se"] == row["gain_se"] == "" and row["AP50_mean"] == "0.1000"


def test_without_frames_the_number_of_labels_is_zero():
    (row,) = table4({"irn": [metrics(-1.0, frames=0, predictions=0)]})
    assert row["instances_per_frame_mean"] == "0.0000"


def test_no_video_left_is_an_error():
    with pytest.raises(WsvisError, match=r"no training video is left .* lower that share"):
        table4({"irn": [metrics(0.1) | {"rest": None}]})


def test_the_file_has_a_row_per_labeller(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(metrics(0.25)))
    write_table4({name: [tmp_path / f"{name}.json"] for name in ("a", "b")}, tmp_path / "table4.csv")
    with open(tmp_path / "table4.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["labeller"] for row in rows] == ["a", "b"] and rows[0]["AP50_mean"] == "0.2500"
