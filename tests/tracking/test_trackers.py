"""What holds for every tracker, on random videos and at the edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.config import TrackingSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.tracking.proposals import clean_proposals, select
from wsvis_core.tracking.tracker import LINKERS, track_video

KINDS = list(LINKERS)
SIZE = (24, 32)


def random_video(make_frame, rng, *, frames, looks):
    """Boxes that walk about, some missing, scores of a frame distinct; and flows of up to 3 px."""
    walkers = [[rng.integers(0, 24), rng.integers(0, 16), rng.integers(0, 3), rng.normal(size=4)] for _ in range(5)]
    video = []
    for _ in range(frames):
        rows = []
        for walker in walkers:
            walker[0] = int(np.clip(walker[0] + rng.integers(-3, 4), 0, 24))
            x, y, category, vector = walker
            if rng.random() < 0.7:
                score = len(rows) / 20 + rng.uniform(0.01, 0.05)
                row = ((x, y, x + 8, y + 8), int(category), score, vector + rng.normal(0, 0.3, 4))
                rows.append(row if looks else row[:3])
        video.append(make_frame(*(rows[i] for i in rng.permutation(len(rows))), size=SIZE))
    flows = [rng.integers(-3, 4, (2, *SIZE)).astype(np.float32) for _ in range(frames - 1)]
    return video, flows


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), frames=st.integers(0, 6), looks=st.booleans())
def test_invariants(make_frame, kind, data, seed, frames, looks):
    rng = np.random.default_rng(seed)
    video, flows = random_video(make_frame, rng, frames=frames, looks=looks)
    chosen = TrackingSettings(kind=kind, per_class=data.draw(st.booleans()), max_tracks=data.draw(st.integers(1, 30)))
    tracks = track_video(video, flows, chosen)

    def name(t, mask, category):
        # Only where classes are tracked apart may two proposals have the same mask.
        return t, mask["counts"], int(category) if chosen.per_class else None

    cleaned = [clean_proposals(frame, chosen) for frame in video]
    usable = {
        name(t, *found) for t, frame in enumerate(cleaned) for found in zip(frame.rles, frame.classes, strict=True)
    }
    used = [name(t, track.segmentations[t], track.category) for track in tracks for t in track.present]
    assert len(used) == len(set(used)) and set(used) <= usable
    assert all(len(track) == frames and track.present for track in tracks)
    assert [t.score for t in tracks] == sorted((t.score for t in tracks), reverse=True)
    assert track_video(video, flows, chosen) == tracks
    shuffled = [select(frame, rng.permutation(len(frame)).tolist()) for frame in video]
    assert track_video(shuffled, flows, chosen) == tracks


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), frames=st.integers(0, 6), looks=st.booleans())
def test_no_mask_is_in_a_frame_that_was_not_given_its_class(make_frame, kind, data, seed, frames, looks):
    rng = np.random.default_rng(seed)
    video, flows = random_video(make_frame, rng, frames=frames, looks=looks)
    draw = data.draw
    chosen = TrackingSettings(
        kind=kind,
        per_class=draw(st.booleans()),
        second_hypothesis=draw(st.booleans()),
        category=draw(st.sampled_from(["summed_score", "majority"])),
        unovost={"ranking": draw(st.sampled_from(["score", "published"]))},
    )
    labels = rng.random((frames, 3)) < draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]))
    tracks = track_video(video, flows, chosen, given=labels)
    assert all(track.present and labels[t, track.category] for track in tracks for t in track.present)
    everything = track_video(video, flows, chosen, given=np.ones((frames, 3), bool))
    assert everything == track_video(video, flows, chosen)
    # What is not given is as if it had not been found, whoever found it.
    fitting = [select(f, np.flatnonzero(row[f.classes]).tolist()) for f, row in zip(video, labels, strict=True)]
    assert track_video(fitting, flows, chosen, given=labels) == tracks


def test_an_object_keeps_its_class_where_it_is_given_and_the_rest_is_another_object(make_frame):
    """A dog is labelled in frames 0 to 3, a cow from 3 on; one place, called cow, dog, dog, dog, cow, cow."""
    box, classes = (0, 0, 20, 20), [1, 0, 0, 0, 1, 1]
    frames = [make_frame((box, c, 0.5 + t / 10)) for t, c in enumerate(classes)]
    labels = np.array([[t <= 3, t >= 3] for t in range(6)])
    # Without labels one track of the class with the larger sum: 0.5 + 0.9 + 1.0 against 0.6 + 0.7 + 0.8.
    (free,) = track_video(frames, [None] * 5)
    assert (free.category, free.present) == (1, (0, 1, 2, 3, 4, 5))
    found = track_video(frames, [None] * 5, given=labels)
    # The cow of frame 0 was not given. The dog, 0.6 + 0.7 + 0.8 against 0.9 + 1.0, is elected, but not given after 3.
    assert [(track.category, track.present) for track in found] == [(1, (4, 5)), (0, (1, 2, 3))]
    assert [track.score for track in found] == pytest.approx([0.95, 0.7])


def test_a_second_hypothesis_has_masks_where_its_class_is_given(make_frame):
    frames = [make_frame(((0, 0, 20, 20), c, score)) for c, score in ((0, 0.9), (0, 0.8), (1, 0.4), (0, 0.7))]
    labels = np.array([[True, False], [True, False], [True, True], [True, True]])
    chosen = TrackingSettings(second_hypothesis=True)
    first, second = track_video(frames, [None] * 3, chosen, given=labels)
    assert (first.category, first.present) == (0, (0, 1, 2, 3)) and (second.category, second.present) == (1, (2, 3))
    assert second.score == pytest.approx(first.score * 0.4 / 2.4)


def test_a_proposal_of_a_class_that_is_not_given_hides_no_other(make_frame):
    """The cow overlaps the dog with a better score; removing overlaps would leave the cow alone."""
    frame = make_frame(((0, 0, 20, 20), 1, 0.9), ((1, 0, 21, 20), 0, 0.3))
    (found,) = track_video([frame, frame], [None], given=np.array([[True, False]] * 2))
    assert found.category == 0 and found.score == pytest.approx(0.3)
    assert track_video([frame, frame], [None], given=np.zeros((2, 2), bool)) == []
    with pytest.raises(ValueError, match="class labels of 1 frames, but instances of 2"):
        track_video([frame, frame], [None], given=np.ones((1, 2), bool))


@pytest.mark.parametrize("kind", KINDS)
def test_empty_videos_and_videos_of_one_frame(make_frame, kind):
    chosen = TrackingSettings(kind=kind)
    nothing, one = EncodedInstances.empty((40, 80)), make_frame(((0, 0, 9, 9), 2, 0.8, (1.0, 0.0)))
    assert track_video([], [], chosen) == []
    assert track_video([nothing], [], chosen) == track_video([nothing] * 3, [None, None], chosen) == []
    (found,) = track_video([one], [], chosen)
    assert (found.category, found.present) == (2, (0,)) and found.score == pytest.approx(0.8)
    (found,) = track_video([nothing, one, one, nothing], [None] * 3, chosen)
    assert found.present == (1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_500_frames_of_a_drifting_object(make_frame, kind):
    frames = [make_frame(((t // 10, 0, t // 10 + 20, 20), 0, 0.8, (1.0, 0.0))) for t in range(500)]
    (found,) = track_video(frames, [None] * 499, TrackingSettings(kind=kind))
    assert len(found.present) == 500


@pytest.mark.parametrize("kind", ["unovost", "deepsort", "masktrack"])
def test_appearance_none_forgets_the_vectors(make_frame, kind):
    frames = [make_frame(((0, 0, 9, 9), 0, 0.9, (1.0, 0.0)), ((30, 0, 39, 9), 0, 0.8, (0.0, 1.0))), make_frame()]
    frames.append(make_frame(((0, 9, 9, 18), 0, 0.8, (0.0, 1.0)), ((30, 9, 39, 18), 0, 0.7, (1.0, 0.0))))
    blind = [replace(frame, appearance=None) for frame in frames]
    chosen = TrackingSettings(kind=kind, appearance="none")
    assert track_video(frames, [None, None], chosen) == track_video(blind, [None, None], TrackingSettings(kind=kind))


def test_overlaps_are_removed_within_a_class_when_classes_are_tracked_apart(make_frame):
    frame = make_frame(((0, 0, 9, 9), 0, 0.8), ((0, 0, 9, 8), 1, 0.9), ((0, 0, 8, 9), 0, 0.7))
    assert clean_proposals(frame, TrackingSettings()).classes.tolist() == [1]
    kept = clean_proposals(frame, TrackingSettings(per_class=True))
    assert kept.classes.tolist() == [1, 0] and kept.scores.tolist() == pytest.approx([0.9, 0.8])
    again = clean_proposals(kept, TrackingSettings(per_class=True))
    assert again.rles == kept.rles
