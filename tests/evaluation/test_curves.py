"""Precision curves: their means are the metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.slow_video_metric import files_of, random_case
from wsvis_core.evaluation.curves import CURVES, precision_curves
from wsvis_core.evaluation.validation import checked
from wsvis_core.evaluation.video import match_video_results, summarise, tables_of


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_mean_of_a_curve_is_its_metric(seed):
    truth, tracks = checked(*files_of(random_case(np.random.default_rng(seed))))
    matches = match_video_results(truth, tracks)
    tables = tables_of(matches, truth)
    metrics, curves = summarise(matches, truth, tables), precision_curves(tables, truth.categories)
    for row, line in [(metrics, curves["mean"]), *zip(metrics["per_category"], curves["per_category"], strict=True)]:
        for name in CURVES:
            assert len(line[name]) == (0 if row[name] < 0 else 101)
            assert row[name] < 0 or np.mean(line[name]) == pytest.approx(row[name], abs=1e-4)
            assert (np.diff(line[name]) <= 0).all()
    assert [line["category_id"] for line in curves["per_category"]] == [2, 3, 5]
