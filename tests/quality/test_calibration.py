"""The calibration: coefficients, files, errors; and that estimates mean what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from wsvis_core.errors import WsvisError
from wsvis_core.quality.calibration import (
    BUILT_IN,
    Calibration,
    Model,
    fit_calibration,
    read_calibration,
    write_calibration,
)
from wsvis_core.quality.logistic import fit_logistic
from wsvis_core.quality.reliability import auc, brier, calibration_error, reliability_bins


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Parts (N,2) and right ones (N,), drawn from σ(−4 + 5·a + 3·b)."""
    rng = np.random.default_rng(seed)
    x = rng.random((count, 2))
    return x, rng.random(count) < expit(-4 + x @ [5, 3])


def test_the_fit_is_that_of_a_general_optimiser():
    x, y = drawn(200)
    design = np.column_stack([np.ones(len(x)), x])

    def loss(w):
        z = design @ w
        return (np.logaddexp(0, z) - y * z).sum() + 0.7 * (w[1:] ** 2).sum() / 2

    expected = minimize(loss, np.zeros(3), tol=1e-12).x
    intercept, weights = fit_logistic(x, y, ridge=0.7)
    np.testing.assert_allclose([intercept, *weights], expected, atol=1e-4)


def test_the_fit_finds_the_coefficients_that_numbers_were_drawn_with():
    intercept, weights = fit_logistic(*drawn(40_000), ridge=0.1)
    np.testing.assert_allclose([intercept, *weights], [-4, 5, 3], atol=0.2)


def test_a_part_that_tells_right_from_wrong_without_error_keeps_a_finite_weight():
    x = np.linspace(0, 1, 20)[:, None]
    intercept, weights = fit_logistic(x, x[:, 0] > 0.5, ridge=0.1)
    assert np.isfinite(intercept) and 0 < weights[0] < 100


@pytest.mark.parametrize("right", [[], [True, True], [False, False]])
def test_a_fit_needs_right_and_wrong_ones(right):
    with pytest.raises(ValueError, match="needs both tracks that are right and tracks that are wrong"):
        fit_logistic(np.zeros((len(right), 1)), np.array(right, bool), ridge=0.1)


def test_estimates_fitted_on_some_numbers_are_reliable_on_others():
    x, y = drawn(4000)
    rows = [dict(zip(("score", "labels"), row, strict=True)) for row in x.tolist()]
    calibration = fit_calibration(rows[:2000], y[:2000].tolist(), {}, used=[("score", "labels")])
    estimates = np.array([calibration.estimate(row) for row in rows[2000:]])
    bins = reliability_bins(estimates, y[2000:])
    assert calibration_error(bins) < 0.03 and auc(estimates, y[2000:]) > 0.8
    assert all(abs(b["mean_estimate"] - b["right_share"]) < 0.15 for b in bins if b["tracks"] > 50)
    # The same ranking with exaggerated figures is as good in AUC, and is found out.
    boasting = expit(3 * np.log(estimates / (1 - estimates)))
    assert auc(boasting, y[2000:]) == pytest.approx(auc(estimates, y[2000:]))
    assert calibration_error(reliability_bins(boasting, y[2000:])) > 0.1
    assert brier(boasting, y[2000:]) > brier(estimates, y[2000:])


def test_the_model_with_most_known_parts_is_used():
    calibration = Calibration((Model(0.0, {"score": 1.0, "stability": 2.0}), Model(-1.0, {"score": 1.0})))
    assert calibration.estimate({"score": 0.5, "stability": 0.25, "labels": 0}) == pytest.approx(expit(1.0))
    assert calibration.estimate({"score": 0.5, "labels": 0}) == pytest.approx(expit(-0.5))


def test_tracks_without_a_part_do_not_count_for_the_models_that_need_it():
    rows = [{"score": s, "labels": 1.0} for s in (0.1, 0.9)] * 10
    with_stability = [row | {"stability": 0.5} for row in rows[:10]]
    calibration = fit_calibration(with_stability + rows, [row["score"] > 0.5 for row in with_stability + rows], {})
    assert [list(model.weights) for model in calibration.models] == [
        ["score", "labels", "stability"],
        ["score", "labels"],
    ]
    few, _ = fit_logistic(
        np.array([[r["score"], 1.0, 0.5] for r in with_stability]),
        [r["score"] > 0.5 for r in with_stability],
        ridge=0.1,
    )
    assert calibration.models[0].intercept == pytest.approx(few)


def test_a_file_is_read_back(tmp_path: Path):
    written = Calibration((Model(-1.25, {"score": 2.5, "labels": 0.5, "stability": 1.0}), Model(0.5, {"score": 1.0})))
    write_calibration(tmp_path / "c.json", written)
    assert read_calibration(tmp_path / "c.json") == written


def test_the_built_in_file_says_what_it_was_fitted_on_and_every_part_raises_the_estimate():
    built_in = read_calibration(BUILT_IN)
    assert built_in.about["data_sets"] and built_in.about["tracks"] > built_in.about["right_tracks"] > 100
    assert [set(model.weights) for model in built_in.models] == [{"score", "labels", "stability"}, {"score", "labels"}]
    assert all(weight > 0 for model in built_in.models for weight in model.weights.values())
    best = built_in.estimate({"score": 1.0, "labels": 1.0, "stability": 1.0})
    worst = built_in.estimate({"score": 0.05, "labels": 0.0, "stability": 0.0})
    assert best > 0.9 and worst < 0.01


GOOD = {"intercept": 0, "weights": {"score": 1}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "format must be 1, not None"),
        ({"format": 2, "models": [GOOD]}, "format must be 1, not 2"),
        ({"format": 1, "models": []}, "models must be a list with at least one model"),
        ({"format": 1, "models": [GOOD, {"intercept": 0}]}, "model 2: needs intercept and weights"),
        (
            {"format": 1, "models": [{"intercept": 0, "weights": {"scroe": 1}}]},
            "model 1: there is no part 'scroe'; the parts are score, labels, stability, agreement",
        ),
        (
            {"format": 1, "models": [{"intercept": None, "weights": {}}]},
            "model 1: intercept must be a finite number, not None",
        ),
        (
            {"format": 1, "models": [{"intercept": 0, "weights": {"score": True}}]},
            "model 1: score must be a finite number, not True",
        ),
        (
            {"format": 1, "models": [{"intercept": 0, "weights": {"score": 1, "stability": 1}}]},
            "one model must have no other parts than score and labels, which every track has",
        ),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, content, said):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    with pytest.raises(WsvisError) as error:
        read_calibration(path)
    end = "; make it with `python -m benchmarks.track_quality`, or unset quality.calibration"
    assert str(error.value) == f"calibration {path}: {said}{end}"


def test_auc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(2)
    values, right = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in values[right] for b in values[~right]]
    assert auc(values, right) == pytest.approx(np.mean(pairs))
    assert auc(-values, right) == pytest.approx(1 - np.mean(pairs))
    assert auc(values, np.zeros(40, bool)) is None and auc(np.zeros(0), np.zeros(0, bool)) is None


def test_bins_and_errors_by_hand():
    estimates, right = np.array([0.0, 0.05, 0.1, 0.95, 1.0]), np.array([0, 1, 0, 1, 1], bool)
    bins = reliability_bins(estimates, right)
    assert [b["tracks"] for b in bins] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins[0] == {"low": 0.0, "high": 0.1, "tracks": 2, "mean_estimate": 0.025, "right_share": 0.5}
    assert bins[1]["right_share"] == 0 and "right_share" not in bins[2]
    assert calibration_error(bins) == pytest.approx((2 * 0.475 + 0.1 + 2 * 0.025) / 5)
    assert brier(estimates, right) == pytest.approx((0.95**2 + 0.1**2 + 0.05**2) / 5)
    assert brier(np.zeros(0), np.zeros(0, bool)) is None
    assert calibration_error(reliability_bins(np.zeros(0), np.zeros(0, bool))) is None
