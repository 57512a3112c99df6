from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wsvis_core.cam.infer import CamReader
from wsvis_core.config import ReportSettings
from wsvis_core.flow.load import FlowReader
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, open_instances, to_columns
from wsvis_core.storage.shards import write_shard
from wsvis_core.visualization.collect_videos import VideoLayers, by_video
from wsvis_core.visualization.collect_way import collect_way
from wsvis_core.visualization.way import NO_LABEL, NO_TRACK, NOT_FOLLOWED

SETTINGS = ReportSettings(videos=2)


@pytest.fixture(scope="module")
def layers(stage1, perfect, truth) -> VideoLayers:
    """Labels and masks are the ground truth; so are the tracks, but that video 2 has none."""
    tracks = by_video([{**entry, "score": 0.9} for entry in truth["annotations"] if entry["video_id"] != 2])
    labels = open_instances([perfect])
    return VideoLayers(
        stage1.dataset, FlowReader([stage1.flow]), CamReader([stage1.cams]), labels, labels, tracks, None, {}
    )


@pytest.fixture(scope="module")
def nothing(stage1, tmp_path_factory):
    """Instances of the same videos, none in any frame."""
    path = tmp_path_factory.mktemp("nothing") / "shard.h5"
    write_shard(
        path,
        kind=KIND,
        videos=stage1.dataset.videos,
        make_columns=lambda video: to_columns(
            [EncodedInstances.empty((video.height, video.width)) for _ in video.frames]
        ),
        settings={},
    )
    return open_instances([path])


def test_counts_follow_the_class_labels_and_the_video_without_a_track_comes_first(layers, stage1):
    way = collect_way(layers, None, None, SETTINGS)
    assert (len(way.videos), way.of, way.choice) == (6, 6, None)
    first = way.videos[0]
    assert first.video_id == 2 and {found.verdict for found in first.classes} == {NO_TRACK}
    for video in way.videos:
        labels = stage1.dataset.class_labels(stage1.dataset.video(video.video_id))
        assert {found.name for found in video.classes} == {
            stage1.dataset.categories[c].name for c in np.flatnonzero(labels.any(axis=0))
        }
        for found in video.classes:
            assert found.with_label == found.with_mask == found.labelled and found.agreement == pytest.approx(1)
            assert 0 < found.cover < 1 and (found.steadiness is None) == (len(labels) == 1)
            assert (found.track is None) == (video.video_id == 2)


def test_the_first_videos_have_pictures_of_three_frames(layers):
    way = collect_way(layers, None, None, SETTINGS)
    drawn = [bool(video.moments and video.moments[0].pictures) for video in way.videos]
    assert drawn == [True, True] + [False] * 4
    for video in way.videos[:2]:
        frames = [moment.frame for moment in video.moments]
        assert frames == sorted(set(frames)) and len(frames) <= 3
        for moment in video.moments:
            assert list(moment.pictures) == ["CAM", "Pseudo-label", "Prediction", "Tracks"]
            assert max(moment.size) <= 240 and all(p[:2] == b"\xff\xd8" for p in moment.pictures.values())


def test_pictures_end_where_there_is_no_room_but_for_the_first(layers):
    way = collect_way(layers, None, None, ReportSettings(megabytes=1e-6))
    assert [any(moment.pictures for moment in video.moments) for video in way.videos] == [True] + [False] * 5
    none = collect_way(layers, None, None, ReportSettings(videos=0))
    assert not any(moment.pictures for video in none.videos for moment in video.moments)


def test_the_most_trusted_track_of_a_class_counts(layers):
    entry = next(entry for entries in layers.tracks.values() for entry in entries)
    number, twice = entry["video_id"], [entry, entry]
    rows = [{"video_id": number, "track": n, "estimate": e, "weakest_frame": 0} for n, e in ((1, 0.1), (2, 0.7))]
    way = collect_way(replace(layers, tracks={number: twice}), {"tracks": rows}, None, SETTINGS)
    video = next(video for video in way.videos if video.video_id == number)
    [found] = [found for found in video.classes if found.track is not None]
    assert (found.track, found.estimate) == (2, 0.7)


def test_no_labels_no_masks_and_no_tracks_at_all(layers, nothing):
    way = collect_way(replace(layers, pseudo_labels=nothing, tracks={}), None, {"reason": "x"}, SETTINGS)
    assert {found.verdict for video in way.videos for found in video.classes} == {NO_LABEL}
    assert way.choice == {"reason": "x"} and all(video.moments for video in way.videos)
    way = collect_way(replace(layers, predictions=nothing, tracks={}), None, None, ReportSettings(videos=0))
    found = [found for video in way.videos for found in video.classes]
    assert {(way.with_mask, way.agreement, way.track) for way in found} == {(0, 0.0, None)}
    assert NOT_FOLLOWED in {way.verdict for way in found}


def test_videos_without_a_class_come_last_without_frames(layers):
    dataset = layers.dataset
    bare = replace(dataset, labels=dataset.labels | {1: np.zeros_like(dataset.labels[1])})
    last = collect_way(replace(layers, dataset=bare), None, None, ReportSettings(videos=0)).videos[-1]
    assert (last.video_id, last.classes, last.moments) == (1, [], [])


def test_held_out_videos_with_ground_truth_have_no_way(layers):
    dataset = layers.dataset
    ids = dataset.splits["val"]
    apart = replace(dataset, splits={"train": ids[:3], "val": ids[3:]})
    assert collect_way(replace(layers, dataset=apart, ground_truth={}), None, None, SETTINGS) is None
    assert len(collect_way(replace(layers, dataset=apart), None, None, ReportSettings(videos=0)).videos) == 3
    assert collect_way(replace(layers, ground_truth={}), None, None, ReportSettings(videos=0)) is not None
