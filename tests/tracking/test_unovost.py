"""Tracks of whole videos made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wsvis_core.config import TrackingSettings, UnovostSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import encode_mask
from wsvis_core.tracking.tracker import track_video
from wsvis_core.tracking.tracks import Track

SIZE = (20, 40)


def track(frames, flows, **options):
    """Tracks by UnOVOST; `options` are its settings or those of all trackers."""
    own = {key: options.pop(key) for key in list(options) if key in UnovostSettings.model_fields}
    return track_video(frames, flows, TrackingSettings(unovost=own, **options))


def frame(*rows, appearance=True):
    """Instances from rows (box, class, score[, appearance vector])."""
    masks = []
    for corners, *_ in rows:
        mask = np.zeros(SIZE, bool)
        mask[corners[1] : corners[3], corners[0] : corners[2]] = True
        masks.append(encode_mask(mask))
    if not rows:
        return EncodedInstances.empty(SIZE)
    vectors = np.array([row[3] for row in rows], np.float32) if appearance and len(rows[0]) > 3 else None
    return EncodedInstances(
        SIZE,
        tuple(masks),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float32),
        np.array([row[0] for row in rows], np.float32),
        vectors,
    )


def moving(speed=0):
    return np.stack([np.full(SIZE, -speed), np.zeros(SIZE)]).astype(np.float32)


RED, BLUE = (1.0, 0.0), (0.0, 1.0)


def crossing_gap():
    """Two objects that rest, vanish for a frame and come back in each other's place; looks tell them apart."""
    left, right = (0, 0, 10, 10), (20, 0, 30, 10)
    return [
        frame((left, 0, 0.9, RED), (right, 1, 0.8, BLUE)),
        frame((left, 0, 0.9, RED), (right, 1, 0.8, BLUE)),
        frame(),
        frame((left, 1, 0.6, BLUE), (right, 0, 0.7, RED)),
        frame((left, 1, 0.6, BLUE), (right, 0, 0.7, RED)),
    ]


def test_appearance_joins_tracklets_over_a_gap():
    frames = crossing_gap()
    tracks = track_video(frames, [None] * 4, video_length=5)
    assert [t.category for t in tracks] == [0, 1]
    assert [t.present for t in tracks] == [(0, 1, 3, 4)] * 2
    assert tracks[0].score == pytest.approx((0.9 + 0.9 + 0.7 + 0.7) / 4)
    assert tracks[0].segmentations[3] == frames[3].rles[1]
    assert tracks[0].frame_scores == pytest.approx((0.9, 0.9, None, 0.7, 0.7))


def test_without_merging_every_tracklet_is_a_track():
    tracks = track(crossing_gap(), [None] * 4, merge=False)
    assert [t.present for t in tracks] == [(0, 1), (0, 1), (3, 4), (3, 4)]


def test_without_appearance_the_forest_follows_time():
    frames = [frame(((0, 0, 5, 5), 0, 0.9)), frame(), frame(((30, 0, 35, 5), 0, 0.8))]
    (found,) = track(frames, [None, None])
    assert found.present == (0, 2)


def test_flow_carries_a_fast_object():
    frames = [frame(((8 * t, 0, 8 * t + 5, 5), 2, 0.5)) for t in range(4)]
    (found,) = track(frames, [moving(8)] * 3, merge=False)
    assert found.present == (0, 1, 2, 3) and found.category == 2


def test_category_by_summed_score_or_majority():
    place = (0, 0, 9, 9)
    frames = [frame((place, 0, 0.9)), frame((place, 1, 0.3)), frame((place, 1, 0.3))]
    flows = [None, None]
    assert track(frames, flows)[0].category == 0
    assert track(frames, flows, category="majority")[0].category == 1
    tie = [frame((place, 3, 0.5)), frame((place, 1, 0.5))]
    assert track(tie, [None], category="majority")[0].category == 1


def test_video_score_can_count_the_length():
    frames = [frame(((0, 0, 9, 9), 0, 0.8)), frame(), frame(), frame()]
    assert track(frames, [None] * 3)[0].score == pytest.approx(0.8)
    assert track(frames, [None] * 3, length_weighted_score=True)[0].score == pytest.approx(0.2)


def test_low_scores_and_empty_masks_are_left_out():
    frames = [frame(((0, 0, 9, 9), 0, 0.04), ((10, 0, 10, 9), 0, 0.9), ((20, 0, 25, 5), 0, 0.05))]
    (found,) = track(frames, [])
    assert found.frame_scores[0] == pytest.approx(0.05)


def test_at_most_max_tracks_by_either_ranking():
    place = [(10 * k, 0, 10 * k + 8, 8) for k in range(4)]
    frames = [
        frame(*((p, 0, s) for p, s in zip(place, (0.9, 0.8, 0.7, 0.6), strict=True))),
        frame((place[3], 0, 0.6)),
    ]
    options = {"max_tracks": 1, "merge": False}
    assert track(frames, [None], **options)[0].score == pytest.approx(0.9)
    assert track(frames, [None], ranking="published", **options)[0].score == pytest.approx(0.6)


def test_one_frame_and_no_proposals():
    one = [frame(((0, 0, 9, 9), 0, 0.8))]
    assert len(track(one, [])) == 1
    assert track(one, [], keep_last_frame=False) == []
    assert track([frame(), frame()], [None]) == []
    assert track([], []) == []


def test_per_class_keeps_overlapping_objects_of_two_classes():
    frames = [frame(((0, 0, 9, 9), 0, 0.8), ((0, 0, 9, 8), 1, 0.9))] * 2
    assert [t.category for t in track(frames, [None])] == [1]
    assert [t.category for t in track(frames, [None], per_class=True)] == [1, 0]


def test_second_hypothesis():
    place = (0, 0, 9, 9)
    frames = [frame((place, 0, 0.8)), frame((place, 1, 0.4))]
    first, second = track(frames, [None], second_hypothesis=True)
    assert (first.category, second.category) == (0, 1)
    assert second.score == pytest.approx(first.score / 2)
    assert second.segmentations == first.segmentations
    assert len(track(frames[:1], [], second_hypothesis=True)) == 1


def test_a_long_video_of_500_frames():
    frames = [frame(((t % 30, 0, t % 30 + 9, 9), 0, 0.8)) for t in range(500)]
    tracks = track(frames, [None] * 499, link_long_side=20)
    assert sum(len(t.present) for t in tracks) == 500


def test_wrong_lengths():
    frames = [frame(), frame()]
    with pytest.raises(ValueError, match="2 frames need 1 flows, got 2"):
        track(frames, [None, None])
    with pytest.raises(ValueError, match="video_length is 3, but there are instances of 2 frames"):
        track_video(frames, [None], video_length=3)
    with pytest.raises(ValueError, match="different sizes"):
        track([frame(), EncodedInstances.empty((3, 3))], [None])
    with pytest.raises(ValueError, match="1 masks but 0 frame scores"):
        Track(0, 0.5, (None,), ())
