"""IoUTracker+ on scenes made by hand; a proposal is named by its place in the frame."""

from __future__ import annotations

from wsvis_core.config import IouTrackerSettings
from wsvis_core.tracking.iou_tracker import link_iou


def places(frames, **options):
    return [chain.places for chain in link_iou(frames, IouTrackerSettings(**options))]


def box(x, y=0, side=20):
    return (x, y, x + side, y + side)


def test_objects_that_cross_keep_their_class(make_frame):
    # Each has moved 6 px and lies exactly where the other was: IoU 1 with the wrong track, 14/26 with its own.
    frames = [make_frame((box(10), 0, 0.9), (box(16), 1, 0.8)), make_frame((box(16), 0, 0.9), (box(10), 1, 0.8))]
    assert places(frames) == [((0, 0), (1, 0)), ((0, 1), (1, 1))]
    assert places(frames, same_class=False) == [((0, 0), (1, 1)), ((0, 1), (1, 0))]


def test_a_missed_frame_ends_a_track(make_frame):
    seen = make_frame((box(0), 0, 0.9))
    assert places([seen, seen, make_frame(), seen]) == [((0, 0), (1, 0)), ((3, 0),)]


def test_iou_exactly_at_the_threshold_links(make_frame):
    frames = [make_frame((box(0), 0, 0.9)), make_frame((box(0, side=10), 0, 0.9))]  # IoU 1/4
    assert len(places(frames, min_iou=0.25)) == 1 and len(places(frames, min_iou=0.26)) == 2


def test_the_score_weighs_the_overlap(make_frame):
    # IoU 2/3 with score .9, IoU .82 with score .3.
    frames = [make_frame((box(4), 0, 0.9)), make_frame((box(0), 0, 0.9), (box(6), 0, 0.3))]
    assert places(frames) == [((0, 0), (1, 0)), ((1, 1),)]
    assert places(frames, score_in_cost=False) == [((0, 0), (1, 1)), ((1, 0),)]


def test_the_track_that_began_first_chooses_first(make_frame):
    early, late = (box(0), 0, 0.9), (box(6), 0, 0.8)
    frames = [make_frame(early), make_frame(early, late), make_frame((box(5), 0, 0.9))]
    assert places(frames) == [((0, 0), (1, 0), (2, 0)), ((1, 1),)]


def test_short_and_weak_tracks_are_left_out(make_frame):
    frames = [make_frame((box(0), 0, 0.6), (box(40), 0, 0.4)), make_frame((box(0), 0, 0.3), (box(40), 0, 0.3))]
    frames.append(make_frame((box(40, 20), 0, 0.9)))
    assert places(frames, min_best_score=0.5) == [((0, 0), (1, 0)), ((2, 0),)]
    assert places(frames, min_length=2) == [((0, 0), (1, 0)), ((0, 1), (1, 1))]
