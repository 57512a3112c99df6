"""DeepSORT on scenes made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wsvis_core.config import DeepsortSettings
from wsvis_core.tracking.assignment import match_costs
from wsvis_core.tracking.deepsort import link_deepsort

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
# Cosine 0.9 with RED.
REDDISH = (0.9, 0.0, np.sqrt(1 - 0.81))


def places(frames, **options):
    return [chain.places for chain in link_deepsort(frames, DeepsortSettings(**options))]


def box(x, y=0, side=20):
    return (x, y, x + side, y + side)


def test_costs_above_the_limit_never_cost_a_good_pair():
    # The sum 0.1 + 9 is smaller than 0.15 + 9.2, yet the pair of 0.15 is the only one with the second row.
    assert match_costs(np.array([[0.1, 9.2], [0.15, 9.0]]), 0.2) == [(0, 0)]
    assert match_costs(np.array([[0.2, np.inf], [np.inf, np.inf]]), 0.2) == [(0, 0)]
    assert match_costs(np.zeros((0, 3)), 0.2) == [] and match_costs(np.zeros((3, 0)), 0.2) == []


def test_appearance_prevents_the_switch_of_two_objects(make_frame):
    # They change places; 8 px lie inside the gate of a new track of 20 px.
    looks = [make_frame((box(0), 0, 0.9, RED), (box(8), 0, 0.8, BLUE))] * 2
    looks.append(make_frame((box(8), 0, 0.9, RED), (box(0), 0, 0.8, BLUE)))
    blind = [make_frame((box(0), 0, 0.9), (box(8), 0, 0.8))] * 2 + [make_frame((box(8), 0, 0.9), (box(0), 0, 0.8))]
    own = [((0, 0), (1, 0), (2, 0)), ((0, 1), (1, 1), (2, 1))]
    assert places([looks[0], looks[2]]) == [path[:1] + ((1, path[2][1]),) for path in own]
    assert places(blind) == [((0, 0), (1, 0), (2, 1)), ((0, 1), (1, 1), (2, 0))]
    assert places(looks, gate=50) == own


def test_a_missed_frame_is_bridged_by_looks_only(make_frame):
    seen, blind = make_frame((box(0), 0, 0.9, RED)), make_frame((box(0), 0, 0.9))
    gap = [make_frame(), make_frame()]
    assert places([seen, *gap, seen]) == [((0, 0), (3, 0))]
    assert places([seen, *gap, seen], max_age=2) == [((0, 0), (3, 0))]
    assert places([seen, *gap, seen], max_age=1) == [((0, 0),), ((3, 0),)]
    assert places([blind, make_frame(), blind]) == [((0, 0),), ((2, 0),)]
    assert places([blind, blind]) == [((0, 0), (1, 0))]


def test_what_lies_outside_the_gate_is_another_object(make_frame):
    frames = [make_frame((box(0), 0, 0.9, RED)), make_frame((box(50, 20), 0, 0.9, RED))]
    assert len(places(frames)) == 2 and len(places(frames, gate=1000)) == 1


@pytest.mark.parametrize(("shift", "inside"), [(8, True), (9, False)])
def test_the_gate_of_the_second_frame_by_hand(make_frame, shift, inside):
    # Height 20: variance of cx after one prediction 2² + 1.25² + 1², of the measurement 1²: 7.5625; 9.4877 is the gate.
    assert (shift**2 / 7.5625 < 9.4877) == inside
    frames = [make_frame((box(0), 0, 0.9, RED)), make_frame((box(shift), 0, 0.9, RED))]
    assert (len(places(frames, max_iou_distance=0)) == 1) == inside


def test_recent_tracks_choose_first_even_at_a_higher_cost(make_frame):
    both = make_frame((box(0), 0, 0.9, RED), (box(4), 0, 0.8, REDDISH))
    recent = make_frame((box(4), 0, 0.8, REDDISH))
    one = make_frame((box(2), 0, 0.9, RED))
    # In the last frame the red one costs the reddish track 0.1 and the red one, missed once, nothing.
    assert places([both, recent, one]) == [((0, 0),), ((0, 1), (1, 0), (2, 0))]
    assert places([both, one], max_iou_distance=0) == [((0, 0), (1, 0)), ((0, 1),)]


def test_confirmation(make_frame):
    seen = make_frame((box(0), 0, 0.9, RED))
    assert places([seen, seen, make_frame(), seen], confirm_hits=3) == []
    assert places([seen] * 3 + [make_frame(), seen], confirm_hits=3) == [((0, 0), (1, 0), (2, 0), (4, 0))]


def test_the_gallery_remembers_earlier_looks(make_frame):
    red, blue, none = make_frame((box(0), 0, 0.9, RED)), make_frame((box(0), 0, 0.9, BLUE)), make_frame()
    # Box IoU carries the track from red to blue; after a gap only looks can.
    assert places([red, blue, none, red]) == [((0, 0), (1, 0), (3, 0))]
    assert places([red, blue, none, red], gallery=1) == [((0, 0), (1, 0)), ((3, 0),)]


def test_classes_do_not_mix(make_frame):
    frames = [make_frame((box(0), 0, 0.9, RED)), make_frame((box(0), 1, 0.9, RED))]
    assert len(places(frames)) == 2 and len(places(frames, same_class=False)) == 1


def test_the_filter_expects_a_moving_object_further_on(make_frame):
    # 10 px a frame: the box meets itself by 1/3 only, what is expected of it by more and more.
    frames = [make_frame((box(10 * t), 0, 0.9), size=(20, 200)) for t in range(9)]
    assert len(places(frames)) == 1
    assert len(places(frames, max_iou_distance=0.6)) == 9
    gentle = [make_frame((box(x), 0, 0.9), size=(20, 200)) for x in (0, 6, 13, 21, 30, 40, 50, 60)]
    assert len(places(gentle, max_iou_distance=0.6)) == 1
