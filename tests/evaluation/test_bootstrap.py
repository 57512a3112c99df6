"""Resampled metrics against re-evaluating the resampled data set; intervals and comparisons."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.slow_video_metric import files_of, random_case
from wsvis_core.evaluation.averages import averages
from wsvis_core.evaluation.bootstrap import Bootstrap, add_intervals, draws, resample, resampled_tables
from wsvis_core.evaluation.compare import compare_metrics
from wsvis_core.evaluation.validation import checked
from wsvis_core.evaluation.video import (
    CATEGORY_METRICS,
    evaluate_video_results,
    match_video_results,
    summarise,
    tables_of,
)


def evaluated(truth, results):
    parsed, tracks = checked(truth, results)
    matches = match_video_results(parsed, tracks)
    return parsed, matches, summarise(matches, parsed, tables_of(matches, parsed))


def copied(truth, results, counts):
    """The data set in which the videos, ascending by id, occur `counts` times, copies beside each other."""
    videos, annotations, tracks = [], [], []
    for video, times in zip(sorted(truth["videos"], key=lambda v: v["id"]), counts, strict=True):
        for _ in range(times):
            videos.append(video | {"id": len(videos) + 1})
            for row in truth["annotations"]:
                if row["video_id"] == video["id"]:
                    annotations.append(row | {"id": len(annotations) + 1, "video_id": len(videos)})
            tracks += [row | {"video_id": len(videos)} for row in results if row["video_id"] == video["id"]]
    return truth | {"videos": videos, "annotations": annotations}, tracks


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_resampling_is_evaluating_the_resampled_data_set(seed, distinct_scores):
    rng = np.random.default_rng(seed)
    truth, results = files_of(random_case(rng, distinct_scores=distinct_scores))
    parsed, matches, _ = evaluated(truth, results)
    counts = np.concatenate([rng.integers(0, 4, (4, len(parsed.videos))), np.ones((1, len(parsed.videos)), int)])
    tables = resampled_tables(matches, parsed, counts)
    found = averages(tables)
    for b, row in enumerate(counts):
        expected = evaluate_video_results(*copied(truth, results, row))
        whole = {key: -1.0 if np.isnan(values[b]) else values[b] for key, values in found.items()}
        assert whole == pytest.approx({key: expected[key] for key in whole}, abs=1e-12)
        for k, category in enumerate(expected["per_category"]):
            mine = {key: averages(tables.category(k))[key][b] for key in CATEGORY_METRICS}
            assert np.nan_to_num(list(mine.values()), nan=-1) == pytest.approx([category[key] for key in mine])


def case_of(seed):
    return files_of(random_case(np.random.default_rng(seed)))


def test_draws_are_seeded_and_of_the_right_size():
    first, again, other = (np.concatenate(list(draws(7, 600, seed))) for seed in (1, 1, 2))
    assert first.shape == (600, 7) and (first.sum(axis=1) == 7).all()
    assert (first == again).all() and (first != other).any()
    assert abs(first.mean() - 1) < 1e-12 and 0.7 < first.var() < 1.0  # multinomial: 1 - 1/7


def many_videos(rng, quality):
    """20 one-frame videos with one object each, found with probability `quality`, and a false positive or none."""
    case = {"videos": {}, "categories": [1], "truth": [], "results": []}
    for video in range(1, 21):
        mask, other = np.zeros((2, 4, 6), bool)
        mask[:2], other[3:] = True, True
        case["videos"][video] = (4, 6, 1)
        case["truth"].append({"video": video, "category": 1, "masks": [mask], "crowd": False, "areas": None})
        shown = mask if rng.random() < quality else other
        case["results"].append({"video": video, "category": 1, "score": float(rng.random()), "masks": [shown]})
    return files_of(case)


def test_intervals_hold_the_metric_and_follow_the_confidence():
    truth, matches, metrics = evaluated(*many_videos(np.random.default_rng(0), 0.6))
    wide, narrow = Bootstrap(500, 0.95, 3), Bootstrap(500, 0.5, 3)
    found = add_intervals(metrics, resample(matches, truth, wide), wide)
    low, high = found["intervals"]["AP50"]
    assert low < metrics["AP50"] < high and 0.1 < high - low < 0.7
    assert found["per_category"][0]["intervals"]["AP50"] == [low, high]
    inner = add_intervals(metrics, resample(matches, truth, narrow), narrow)["intervals"]["AP50"]
    assert low < inner[0] < inner[1] < high
    assert found["intervals"]["AP_large"] is None and metrics["AP_large"] == -1
    assert found["bootstrap"] == {"resamples": 500, "confidence": 0.95, "seed": 3}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert add_intervals(metrics, resample(matches, truth, wide), wide) == found


def test_recall_of_one_object_per_video_is_a_binomial_share():
    """Recall is then a mean over videos, whose bootstrap is known: mean p, variance p (1 - p) / V."""
    truth, matches, metrics = evaluated(*many_videos(np.random.default_rng(5), 0.6))
    samples = resample(matches, truth, Bootstrap(4000)).metrics["AR100"]
    p = metrics["AR100"]
    assert samples.mean() == pytest.approx(p, abs=0.01)
    assert samples.std() == pytest.approx((p * (1 - p) / 20) ** 0.5, rel=0.05)


def test_a_comparison_is_paired_and_signed():
    truth, worse = many_videos(np.random.default_rng(1), 0.5)
    better = [row for row in many_videos(np.random.default_rng(1), 0.5)[1]]
    wrong = evaluated(truth, worse)[1]
    missed = [n for n, m in enumerate(wrong.values()) if not m.matched[0, 0].any()]
    for n in missed[:3]:
        better[n] = better[n] | {"segmentations": truth["annotations"][n]["segmentations"]}
    parsed, matches_a, a = evaluated(truth, worse)
    _, matches_b, b = evaluated(truth, better)
    how = Bootstrap(400)
    both = resample(matches_a, parsed, how), resample(matches_b, parsed, how)
    row = compare_metrics(a, b, both, how)["metrics"]["AR100"]
    assert (row["a"], row["b"]) == (a["AR100"], b["AR100"]) and row["difference"] == pytest.approx(0.15)
    low, high = row["interval"]
    assert 0 <= low < 0.15 < high < 0.4
    # B is never worse; it is no better in the resamples without any of the three videos, (17/20)^20 = 4 %.
    assert row["share_b_better"] == pytest.approx(1 - 0.85**20, abs=0.03)
    turned = compare_metrics(b, a, both[::-1], how)
    assert turned["metrics"]["AR100"]["interval"] == pytest.approx([-high, -low])
    assert turned["metrics"]["AR100"]["share_b_better"] == 0.0
    assert turned["per_category"][0]["metrics"]["AR1"]["difference"] == pytest.approx(-0.15)


def test_a_file_with_itself_and_without_resamples():
    truth, matches, metrics = evaluated(*many_videos(np.random.default_rng(2), 0.5))
    how = Bootstrap(50)
    same = resample(matches, truth, how)
    row = compare_metrics(metrics, metrics, (same, same), how)["metrics"]["mAP"]
    assert row["interval"] == [0.0, 0.0] and row["share_b_better"] == 0.0
    plain = compare_metrics(metrics, metrics, None, how)["metrics"]
    assert plain["mAP"]["difference"] == 0.0 and plain["mAP"]["interval"] is None
    assert plain["AP_large"] == dict.fromkeys(row)


def test_no_ground_truth_and_no_results():
    truth, _ = case_of(0)
    parsed, matches, metrics = evaluated(truth | {"annotations": []}, [])
    found = add_intervals(metrics, resample(matches, parsed, Bootstrap(10)), Bootstrap(10))
    assert set(map(type, found["intervals"].values())) == {type(None)}
    parsed, matches, metrics = evaluated(many_videos(np.random.default_rng(0), 1)[0], [])
    found = add_intervals(metrics, resample(matches, parsed, Bootstrap(10)), Bootstrap(10))
    assert found["intervals"]["mAP"] == [0.0, 0.0]
