"""MaskTrack R-CNN's matcher on scenes made by hand, and its sums by value."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wsvis_core.config import MasktrackSettings
from wsvis_core.tracking.masktrack import _sums, link_masktrack

RED, BLUE = (1.0, 0.0), (0.0, 1.0)


def places(frames, **options):
    return [chain.places for chain in link_masktrack(frames, MasktrackSettings(**options))]


def box(x, y=0, side=20):
    return (x, y, x + side, y + side)


def test_the_sums_by_hand(make_frame):
    frame = make_frame((box(0), 3, 0.5), (box(40), 1, 0.25))
    logits = np.array([[2.0, -1.0], [0.5, 0.0]])
    boxes, classes = np.array([box(10), box(40)], np.float32), np.array([3, 3])
    found = _sums(logits, frame, 2, boxes, classes, MasktrackSettings())
    first = math.log(math.exp(0) + math.exp(2) + math.exp(-1))
    second = math.log(math.exp(0) + math.exp(0.5) + math.exp(0))
    wanted = [
        [-first + math.log(0.5) + 10, 2 - first + math.log(0.5) + 2 / 3 + 10, -1 - first + math.log(0.5) + 10],
        [-second + math.log(0.25) + 10, 0.5 - second + math.log(0.25), -second + math.log(0.25) + 2],
    ]
    assert found == pytest.approx(np.array(wanted))


def test_looks_find_an_object_again_wherever_it_is(make_frame):
    frames = [make_frame((box(0), 0, 0.9, RED), (box(50), 0, 0.8, BLUE)), make_frame(), make_frame()]
    frames.append(make_frame((box(50), 0, 0.9, RED), (box(0, 20), 0, 0.8, BLUE)))
    assert places(frames) == [((0, 0), (3, 0)), ((0, 1), (3, 1))]
    # As large an overlap weight makes it stay where it was.
    assert places(frames, iou_weight=50)[1] == ((0, 1), (3, 0))


def test_other_looks_or_another_class_begin_a_track(make_frame):
    red, blue = make_frame((box(0), 0, 0.9, RED)), make_frame((box(40), 0, 0.9, BLUE))
    assert places([red, blue]) == [((0, 0),), ((1, 0),)]
    assert places([red, make_frame((box(0), 1, 0.9, RED))]) == [((0, 0),), ((1, 0),)]
    assert places([red, make_frame((box(0), 1, 0.9, RED))], class_weight=0) == [((0, 0), (1, 0))]


def test_of_two_that_want_one_track_the_better_keeps_it_and_the_other_is_lost(make_frame):
    first = make_frame((box(0), 0, 0.9, RED))
    both = make_frame((box(5), 0, 0.9, RED), (box(0), 0, 0.8, RED))
    # log(.9/.8) = .12 is less than the difference of the overlaps, 2·(1 − 15/25).
    assert places([first, both]) == [((0, 0), (1, 1))]
    assert places([first, both], iou_weight=0) == [((0, 0), (1, 0))]


def test_without_looks_box_and_class_decide(make_frame):
    frames = [make_frame((box(0), 0, 0.9), (box(40), 0, 0.8)), make_frame((box(42), 0, 0.9), (box(0, 20), 0, 0.8))]
    assert places(frames) == [((0, 0),), ((0, 1), (1, 0)), ((1, 1),)]


def test_only_the_best_proposals_are_used(make_frame):
    frame = make_frame((box(0), 0, 0.9, RED), (box(40), 0, 0.8, BLUE))
    assert places([frame], max_proposals=1) == [((0, 0),)]
