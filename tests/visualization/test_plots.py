from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.visualization.plots import binned, scalar_charts

RECORDS = [{"iteration": i, "loss_mask": 1.0 / (i + 1), "loss": 2.0 / (i + 1), "learning_rate": 0.1} for i in range(9)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), max_size=200), st.integers(1, 60))
def test_bins_keep_the_extremes_and_the_mean(values, bins):
    table = binned(np.arange(len(values), dtype=float), np.array(values, dtype=float), bins)
    assert len(table["x"]) == min(bins, len(values))
    if values:
        assert table["low"].min() == min(values) and table["high"].max() == max(values)
        assert (table["low"] <= table["mean"] + 1e-9).all() and (table["mean"] <= table["high"] + 1e-9).all()


def test_bins_follow_the_iteration_and_not_the_order_of_the_rows():
    assert binned(np.array([3.0, 1.0, 2.0]), np.array([30.0, 10.0, 20.0]))["mean"].tolist() == [10, 20, 30]


def test_losses_share_a_chart_with_the_total_first_and_other_scalars_get_their_own():
    losses, rate = scalar_charts("train_cam", RECORDS)
    assert losses.title == "losses" and [line.name for line in losses.series] == ["loss", "loss_mask"]
    assert losses.series[1].last == "0.111"
    assert rate.title == "learning rate" and rate.series[0].last == "0.100"


def test_the_drawing_takes_its_colours_from_the_page_and_reaches_nothing_outside():
    svg = scalar_charts("s", RECORDS)[0].svg
    assert svg.startswith("<svg viewBox=") and svg.rstrip().endswith("</svg>") and "var(--series-1)" in svg
    assert "http" not in svg and "<metadata" not in svg and not re.search(r"#0[ab]00", svg)
    assert svg == scalar_charts("s", RECORDS)[0].svg
    assert 'aria-label="losses of &lt;s&gt; over iterations"' in scalar_charts("<s>", RECORDS)[0].svg


def test_losses_far_apart_go_on_a_log_scale_that_the_title_names():
    far = [{"iteration": i, "loss_a": 100.0, "loss_b": 0.01} for i in range(3)]
    assert scalar_charts("s", far)[0].title == "losses, log scale"


def test_a_ratio_shows_where_one_is():
    rows = [{"iteration": i, "mask_area_ratio": 1 + i} for i in range(3)]
    plain = [{"iteration": i, "mask_area": 1 + i} for i in range(3)]
    assert scalar_charts("s", rows)[0].svg.count("stroke-dasharray") > scalar_charts("s", plain)[0].svg.count(
        "stroke-dasharray"
    )


def test_more_losses_than_colours_make_a_second_chart():
    rows = [{"iteration": i, **{f"loss_{k}": 1.0 for k in range(9)}} for i in range(2)]
    assert [len(chart.series) for chart in scalar_charts("s", rows)] == [8, 1]


def test_nothing_to_draw_gives_no_chart_and_broken_numbers_are_left_out():
    assert scalar_charts("s", []) == []
    assert scalar_charts("s", [{"iteration": 1, "loss": float("nan"), "note": "x", "done": True}]) == []
    charts = scalar_charts("s", [{"iteration": 1, "loss": 2.0}, {"iteration": 2, "loss": float("inf")}])
    assert charts[0].series[0].last == "2.00"
