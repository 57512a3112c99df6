from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from wsvis_core.visualization.markup import data_uri, duration, image, is_fraction, metric, metric_table, number, table


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12345, "12\u202f345"), (1.8149, "1.81"), (0.0, "0.00"), (0.00071, "7.1e-04"), (123.4, "123")]
    + [(float("nan"), "–"), (None, "–"), (True, "True"), ("dis", "dis"), (np.float32(0.5), "0.500"), (-2.5, "-2.50")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (12.2, "12 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")]
    + [(float("nan"), "–"), (-1, "–")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_fractions_are_known_by_their_name():
    assert all(map(is_fraction, ("mAP", "AP50", "AR10", "video_AP50", "mean_iou", "recall", "AP50_95")))
    assert not any(map(is_fraction, ("frames", "area_ratio", "instances_per_frame", "APPLES", "loss")))


def test_metrics_are_shown_times_100_and_unknown_ones_as_a_dash():
    assert metric("AP50", 0.2136) == "21.4" and metric("AP50", 1) == "100.0"
    assert metric("AP50", -1.0) == metric("AP50", float("nan")) == metric("AP50", None) == "–"
    assert metric("instances_per_frame", 1.81) == "1.81"


def test_a_metric_table_takes_all_columns_and_escapes_names():
    html = metric_table("Two <rows>", {"a&b": {"AP50": 0.5}, "c": {"frames": 3}}, head_of_rows="level")
    assert "Two &lt;rows&gt;" in html and "a&amp;b" in html and "--share:0.500" in html
    assert html.count("<td>") == 4 and html.count("<td>–</td>") == 2


def test_an_empty_table_is_a_table():
    assert "<tbody></tbody>" in table("none", ["a"], {})


def test_a_picture_comes_back_from_its_data_uri_in_rgb():
    picture = np.zeros((16, 24, 3), np.uint8)
    picture[..., 0] = 200
    uri = data_uri(picture)
    assert uri.startswith("data:image/jpeg;base64,")
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded[..., ::-1].astype(int) - picture).max() < 12
    assert 'alt="a &quot;b&quot;"' in image(picture, 'a "b"') and 'width="24" height="16"' in image(picture, "")
