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
