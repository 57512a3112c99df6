from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wsvis_core.storage.rle import encode_mask
from wsvis_core.visualization.way import (
    DOUBTFUL_TRACK,
    JUMPING_LABEL,
    NO_LABEL,
    NO_TRACK,
    NOT_FOLLOWED,
    SHORT_TRACK,
    STEADY,
    WIDE_LABEL,
    ClassSteps,
    ClassWay,
    FoundTrack,
    VideoWay,
    class_way,
    label_fits,
    worst_moments,
)

GOOD = ClassWay("cow", 10, 10, 10, 10, cover=0.2, steadiness=0.8, agreement=0.7, track=1, estimate=0.9)


def columns(first: int, last: int) -> dict:
    """A mask 2×4 that fills whole columns."""
    mask = np.zeros((2, 4), bool)
    mask[:, first : last + 1] = True
    return encode_mask(mask)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, STEADY),
        ({"with_label": 4}, NO_LABEL),
        ({"with_label": 5}, STEADY),
        ({"with_label": 0, "cover": None, "steadiness": None, "agreement": None}, NO_LABEL),
        ({"cover": 0.9}, WIDE_LABEL),
        ({"steadiness": 0.1}, JUMPING_LABEL),
        ({"steadiness": None}, STEADY),
        ({"agreement": 0.29, "with_mask": 0}, NOT_FOLLOWED),
        ({"track": None, "estimate": None, "with_track": 0}, NO_TRACK),
        ({"with_track": 4}, SHORT_TRACK),
        ({"estimate": 0.01}, DOUBTFUL_TRACK),
        ({"estimate": None}, STEADY),
    ],
)
def test_the_verdict_names_the_step_that_fails(change, verdict):
    assert replace(GOOD, **change).verdict == verdict


def test_of_several_steps_the_first_is_named():
    nothing = replace(GOOD, with_label=0, cover=0.9, steadiness=0, agreement=0, track=None)
    assert nothing.verdict == NO_LABEL
    assert replace(nothing, with_label=10).verdict == WIDE_LABEL
    assert replace(nothing, with_label=10, cover=0.1).verdict == JUMPING_LABEL


def test_worst_first_is_no_label_then_no_track_then_the_least_estimate():
    rows = {
        "no class": VideoWay(1, "no class"),
        "good": VideoWay(2, "good", [GOOD]),
        "low": VideoWay(3, "low", [GOOD, replace(GOOD, estimate=0.2)]),
        "no track": VideoWay(4, "no track", [GOOD, replace(GOOD, track=None, estimate=None)]),
        "no label": VideoWay(5, "no label", [replace(GOOD, with_label=1)]),
    }
    assert sorted(rows, key=lambda name: rows[name].rank) == ["no label", "no track", "low", "good", "no class"]


def steps() -> ClassSteps:
    """Six frames, labelled but for the last: label everywhere but in frame 3, mask to 2, track in 0 and 1."""
    full, half, away = columns(0, 3), columns(0, 1), columns(2, 3)
    return ClassSteps(
        "cow",
        np.array([True] * 5 + [False]),
        labels=[[half], [half], [half], [], [half], [half]],
        masks=[[half], [full], [away], [], [], []],
        covers=np.array([0.5, 0.5, 0.5, 0, 0.5, 0.5]),
        steadiness=np.array([1.0, 0.5, np.nan, np.nan, 1.0]),
        track=FoundTrack(2, [half, half, None, None, None, None], 0.4, weakest=1),
    )


def test_counts_and_means_are_of_the_labelled_frames():
    found = class_way(steps())
    assert (found.labelled, found.with_label, found.with_mask, found.with_track) == (5, 4, 3, 2)
    assert found.cover == 0.5 and found.steadiness == 0.75 and (found.track, found.estimate) == (2, 0.4)
    assert found.agreement == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert label_fits([[], [columns(0, 1)]], [[columns(0, 1)], []]).tolist() == pytest.approx([np.nan, 0], nan_ok=True)


def test_worst_frames_are_one_of_every_kind_then_those_that_agree_least():
    moments = [(moment.frame, moment.why) for moment in worst_moments(steps())]
    assert moments[:4] == [
        (1, "cow: the weakest frame of track 2"),
        (4, "cow: a label, but no track"),
        (2, "cow: IoU of label and mask 0"),
        (3, "cow: no label"),
    ]
    assert moments[5:] == [
        (4, "cow: a label, but no mask"),
        (1, "cow: IoU of label and mask 50"),
        (0, "cow: IoU of label and mask 100"),
        (3, "cow: no label"),
    ]


def test_without_labels_the_frames_without_them_come_first():
    none = replace(steps(), labels=[[]] * 6, track=None, covers=np.zeros(6))
    found = class_way(none)
    assert found.verdict == NO_LABEL and found.cover is found.agreement is found.steadiness is found.track is None
    assert next(worst_moments(none)).why == "cow: no label"
    assert {moment.frame for moment in worst_moments(none)} == set(range(5))


def test_a_video_of_one_frame():
    box = columns(0, 1)
    one = ClassSteps("cow", np.ones(1, bool), [[box]], [[box]], np.array([0.5]), np.zeros(0), FoundTrack(1, [box]))
    assert class_way(one) == ClassWay("cow", 1, 1, 1, 1, 0.5, None, 1.0, 1, None)
    assert class_way(one).verdict == STEADY and {moment.frame for moment in worst_moments(one)} == {0}
