"""Identity switches: golden cases by hand, motmetrics as an independent reference, the command."""

from __future__ import annotations

import json

import motmetrics
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.cli import main
from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.identity import identity_report, match_frames
from wsvis_core.storage.rle import decode_mask, encode_mask

HEIGHT, WIDTH = 10, 40


def mask_at(left, width=10):
    """A mask of all rows from column `left` on; two of width 10 that are d apart have IoU (10-d)/(10+d)."""
    if left is None:
        return None
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, left : left + width] = True
    return encode_mask(mask)


def masks_at(lefts):
    return [mask_at(left) for left in lefts]


def truth_of(*objects, **changes):
    """One video; each object is a list of left columns."""
    length = len(objects[0]) if objects else 3
    return {
        "videos": [{"id": 1, "height": HEIGHT, "width": WIDTH, "length": length}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 10 + n, "video_id": 1, "category_id": 1, "segmentations": masks_at(lefts), **changes}
            for n, lefts in enumerate(objects)
        ],
    }


def result(lefts, score=0.9, category=1):
    return {"video_id": 1, "category_id": category, "score": score, "segmentations": masks_at(lefts)}


def counts(report):
    return {key: report[key] for key in ("switches", "class_switches", "fragmentations", "matched", "visible")}


def test_perfect_tracks_have_no_switch():
    report = identity_report(truth_of([0, 1, 2], [20, 21, 22]), [result([0, 1, 2]), result([20, 21, 22])])
    assert counts(report) == {
        "switches": 0, "class_switches": 0, "fragmentations": 0, "matched": 6, "visible": 6,
    }  # fmt: skip


def test_a_track_that_ends_and_another_that_goes_on_is_one_switch():
    found = [result([0, 0, None, None]), result([None, None, 0, 0], category=2)]
    report = identity_report(truth_of([0, 0, 0, 0]), found)
    assert report["switches"] == report["class_switches"] == 1 and report["fragmentations"] == 0
    assert report["videos"][0]["switched"] == [
        {"frame": 2, "last_frame": 1, "truth": 10, "before": 1, "after": 2, "before_category": 1, "after_category": 2}
    ]


def test_two_tracks_that_swap_their_objects_are_two_switches():
    found = [result([0, 0, 20, 20]), result([20, 20, 0, 0])]
    report = identity_report(truth_of([0] * 4, [20] * 4), found)
    assert [(s["truth"], s["before"], s["after"]) for s in report["videos"][0]["switched"]] == [(10, 1, 2), (11, 2, 1)]


def test_a_better_overlap_does_not_take_over_while_the_old_track_is_good_enough():
    # Track 1 slips to IoU 7/13 ≥ 0.5, track 2 lies exactly on the object.
    report = identity_report(truth_of([0, 0, 0]), [result([0, 3, 3]), result([None, 0, 0])])
    assert report["switches"] == 0
    # One column more, and it is 6/14 < 0.5.
    assert identity_report(truth_of([0, 0, 0]), [result([0, 4, 4]), result([None, 0, 0])])["switches"] == 1


def test_the_first_assignment_prefers_more_matches_over_a_better_one():
    # Track 1 fits both objects, track 2 only the first: both objects are found.
    matches = match_frames([masks_at([0]), masks_at([3])], {1: masks_at([1]), 2: masks_at([0])}, 1, 0.5)
    assert matches.tolist() == [[2], [1]]


def test_a_switch_over_a_gap_and_a_return_to_the_same_track():
    truth = truth_of([0] * 5)
    apart = identity_report(truth, [result([0, None, None, None, None]), result([None, None, None, 0, 0])])
    assert apart["switches"] == 1 and apart["videos"][0]["switched"][0]["last_frame"] == 0
    assert apart["videos"][0]["fragmented"] == [{"frame": 1, "resumed": 3, "truth": 10}]
    back = identity_report(truth, [result([0, None, 0, 30, 0])])
    assert back["switches"] == 0
    assert [(f["frame"], f["resumed"]) for f in back["videos"][0]["fragmented"]] == [(1, 2), (3, 4)]


def test_a_hidden_object_is_no_fragmentation_and_nothing_after_the_last_match_counts():
    report = identity_report(truth_of([0, None, 0, 0, 0]), [result([0, None, 0, None, None])])
    assert counts(report)["fragmentations"] == 0 and (report["matched"], report["visible"]) == (2, 4)


def test_weak_tracks_crowds_and_empty_input():
    found = [result([0, None, None], score=0.1), result([None, 0, 0], score=0.8)]
    assert identity_report(truth_of([0, 0, 0]), found)["switches"] == 1
    strong = identity_report(truth_of([0, 0, 0]), found, min_score=0.5)
    assert strong["switches"] == 0 and strong["matched"] == 2
    assert identity_report(truth_of([0, 0, 0], iscrowd=1), found)["visible"] == 0
    assert identity_report(truth_of([0, 0, 0]), [])["matched"] == 0
    assert counts(identity_report(truth_of(), found))["visible"] == 0


def test_wrong_input_is_refused_with_all_problems():
    with pytest.raises(WsvisError, match="the evaluation input has 2 problems"):
        identity_report(truth_of([0, 0]), [result([0]), result([0, 0], category=3)])


def test_the_command_prints_and_writes(tmp_path, capsys):
    (tmp_path / "gt.json").write_text(json.dumps(truth_of([0] * 4)))
    (tmp_path / "r.json").write_text(json.dumps([result([0, None, None, None]), result([None, None, 0, 0])]))
    paths = {"--ground-truth": "gt.json", "--results": "r.json", "--output": "i.json"}
    code = main(["identity", *(part for key, name in paths.items() for part in (key, str(tmp_path / name)))])
    assert code == 0 and json.loads((tmp_path / "i.json").read_text())["switches"] == 1
    assert capsys.readouterr().out.splitlines() == [
        "video 1: 1 switches (0 to another class), 1 fragmentations, found 3 of 4 times",
        "  frame 2: object 10 from track 1 to 2 (categories 1, 1; last found in frame 0)",
        "  frame 1: object 10 is lost until frame 2",
        "1 videos: 1 switches (0 to another class), 1 fragmentations, found 3 of 4 times",
    ]


LEFTS = st.lists(st.one_of(st.none(), st.integers(0, 30)), min_size=6, max_size=6)


@settings(max_examples=30, deadline=None)
@given(st.lists(LEFTS, min_size=1, max_size=3), st.lists(LEFTS, min_size=0, max_size=4), st.integers(0, 2**31))
def test_same_counts_as_motmetrics(objects, tracks, seed):
    """py-motmetrics is the field's implementation; it gets IoUs of dense masks, noisy so that no two are equal."""
    rng = np.random.default_rng(seed)
    noise = lambda lefts: [_noisy(left, rng) for left in lefts]  # noqa: E731
    truth, found = truth_of(*objects), [result(lefts) for lefts in tracks]
    for row in truth["annotations"]:
        row["segmentations"] = noise(row["segmentations"])
    for row in found:
        row["segmentations"] = noise(row["segmentations"])
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for t in range(6):
        here = [(row["id"], row["segmentations"][t]) for row in truth["annotations"] if row["segmentations"][t]]
        there = [(n, row["segmentations"][t]) for n, row in enumerate(found, 1) if row["segmentations"][t]]
        distances = np.array([[_distance(a, b) for _, b in there] for _, a in here]).reshape(len(here), len(there))
        accumulator.update([n for n, _ in here], [n for n, _ in there], distances)
    names = ["num_switches", "num_fragmentations", "num_misses", "num_objects"]
    expected = motmetrics.metrics.create().compute(accumulator, metrics=names, return_dataframe=False)
    report = identity_report(truth, found)
    ours = [report["switches"], report["fragmentations"], report["visible"] - report["matched"], report["visible"]]
    assert ours == [expected[name] for name in names]


def _noisy(rle, rng):
    if rle is None:
        return None
    mask = decode_mask(rle)
    mask[:2] ^= rng.random((2, WIDTH)) < 0.3
    return encode_mask(mask)


def _distance(a, b):
    a, b = decode_mask(a), decode_mask(b)
    iou = (a & b).sum() / (a | b).sum()
    return 1 - iou if iou >= 0.5 else np.nan
