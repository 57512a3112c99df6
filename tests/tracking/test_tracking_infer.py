from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from wsvis_core.config import TrackingSettings
from wsvis_core.datasets.video import Frame, Video
from wsvis_core.errors import WsvisError
from wsvis_core.flow.load import FlowReader
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, open_instances, to_columns
from wsvis_core.storage.shards import write_shard
from wsvis_core.tracking.infer import track_instances, track_one
from wsvis_core.tracking.results import read_results


def test_perfect_masks_become_the_true_tracks(dataset, truth, perfect, flow_shard, tmp_path):
    track_instances(dataset, [perfect], [flow_shard], TrackingSettings(), tmp_path / "tracks.json")
    results = read_results(tmp_path / "tracks.json")
    assert {entry["video_id"] for entry in results} == {video.id for video in dataset.videos}
    for entry in results:
        assert len(entry["segmentations"]) == len(dataset.video(entry["video_id"]))
        assert entry["category_id"] in {category.id for category in dataset.categories}
    # Every true object is one of the tracks, whole and of its class.
    tracks = {
        json.dumps([entry["video_id"], entry["category_id"], entry["segmentations"]], sort_keys=True)
        for entry in results
    }
    found = sum(
        json.dumps([item["video_id"], item["category_id"], item["segmentations"]], sort_keys=True) in tracks
        for item in truth["annotations"]
    )
    assert found >= 0.8 * len(truth["annotations"])


def test_twice_gives_the_same_bytes_whatever_the_shards(dataset, perfect, flow_shard, tmp_path):
    parts = []
    for number, videos in enumerate((dataset.videos[:2], dataset.videos[2:])):
        parts.append(tmp_path / f"{number}.h5")
        reader = open_instances([perfect])
        write_shard(
            parts[-1],
            kind=KIND,
            videos=videos,
            make_columns=lambda video, reader=reader: to_columns(reader.video(video.id)),
            settings={},
        )
    for name, paths in (("a", [perfect]), ("b", [perfect]), ("c", parts)):
        track_instances(dataset, paths, [flow_shard], TrackingSettings(), tmp_path / f"{name}.json")
    first, again, split = ((tmp_path / f"{name}.json").read_bytes() for name in "abc")
    assert first == again == split


def test_tracks_keep_to_given_labels_and_held_out_videos_know_none(dataset, perfect, flow_shard, tmp_path):
    """Every object is called by the next class, as by a segmenter that is always wrong."""
    reader, count = open_instances([perfect]), dataset.num_classes
    write_shard(
        tmp_path / "wrong.h5",
        kind=KIND,
        videos=dataset.videos,
        make_columns=lambda v: to_columns([replace(f, classes=(f.classes + 1) % count) for f in reader.video(v.id)]),
        settings={},
    )
    first, *others = (video.id for video in dataset.videos)
    found = {}
    for name, train in (("all", (first, *others)), ("sampled", (first,)), ("none", ())):
        chosen = replace(dataset, splits={"train": train, "val": (first, *others)})
        track_instances(chosen, [tmp_path / "wrong.h5"], [flow_shard], TrackingSettings(), tmp_path / f"{name}.json")
        found[name] = read_results(tmp_path / f"{name}.json")
    for entry in found["all"]:
        label = dataset.class_labels(dataset.video(entry["video_id"]))[:, dataset.class_index(entry["category_id"])]
        assert all(label[t] for t, mask in enumerate(entry["segmentations"]) if mask is not None)
    assert len(found["all"]) < len(found["none"])
    held_out = [[e for e in found[name] if e["video_id"] != first] for name in ("sampled", "none")]
    assert held_out[0] == held_out[1] != []


def test_a_one_frame_video_and_one_without_predictions(dataset, perfect, flow_shard, tmp_path):
    flow, short = FlowReader([flow_shard]), next(video for video in dataset.videos if len(video) == 1)
    tracks = track_one(short, open_instances([perfect]), flow, TrackingSettings())
    assert tracks and all(len(track) == 1 for track in tracks)
    empty = tmp_path / "empty.h5"
    write_shard(
        empty,
        kind=KIND,
        videos=dataset.videos,
        make_columns=lambda v: to_columns([EncodedInstances.empty((v.height, v.width))] * len(v)),
        settings={},
    )
    track_instances(dataset, [empty], [flow_shard], TrackingSettings(), tmp_path / "none.json")
    assert (tmp_path / "none.json").read_text() == "[]\n"


@pytest.mark.parametrize(("u", "right"), [(-10, True), (10, False)])
def test_objects_are_linked_along_the_flow_from_the_later_frame_to_the_earlier(u, right):
    """Two objects, 20 px apart, move 10 px to the right per frame: a later pixel came from 10 px further left."""
    masks = torch.zeros(3, 2, 20, 80, dtype=torch.bool)
    for t in range(3):
        for i, x in enumerate((4, 24)):
            masks[t, i, 6:14, x + 10 * t : x + 8 + 10 * t] = True
    frames = [EncodedInstances.encode(InstanceSet.from_masks(found, torch.zeros(2).long())) for found in masks]

    class Instances:
        def video(self, video_id):
            return frames

    class Flow:
        def backward(self, video_id, index):
            field = np.zeros((2, 10, 40), np.float32)  # stored at half size: vectors are half as long
            field[0] = u / 2
            return field

    video = Video(1, "v", 80, 20, tuple(Frame(f"{t}.jpg", 2 * t) for t in range(3)))
    tracks = track_one(video, Instances(), Flow(), TrackingSettings())
    found = {tuple(mask and mask["counts"] for mask in track.segmentations) for track in tracks}
    true = {tuple(frame.rles[i]["counts"] for frame in frames) for i in range(2)}
    assert (found == true) == right


def test_settings_reach_the_tracker(dataset, perfect, flow_shard):
    video = max(dataset.videos, key=len)
    instances, flow = open_instances([perfect]), FlowReader([flow_shard])
    assert track_one(video, instances, flow, TrackingSettings(min_score=0.95)) == []
    assert len(track_one(video, instances, flow, TrackingSettings(max_tracks=1))) == 1


def test_missing_videos_are_named(dataset, perfect, flow_shard, tmp_path):
    write_shard(tmp_path / "p.h5", kind=KIND, videos=[], make_columns=dict, settings={})
    with pytest.raises(WsvisError, match=r"video 1 is in none of the 'instances' shards: .*p\.h5"):
        track_instances(dataset, [tmp_path / "p.h5"], [flow_shard], TrackingSettings(), tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()
