from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, open_instances, to_columns
from wsvis_core.storage.shards import write_shard


def random_frame(rng: np.random.Generator, count: int, size=(6, 9), appearance: int | None = 4) -> InstanceSet:
    masks = torch.from_numpy(rng.random((count, *size)) < 0.4)
    found = InstanceSet.from_masks(
        masks, torch.from_numpy(rng.integers(0, 5, count)), torch.from_numpy(rng.random(count)).float()
    )
    if appearance is None:
        return found
    vectors = torch.from_numpy(rng.normal(size=(count, appearance)).astype(np.float16)).float()
    return InstanceSet(found.masks, found.boxes_xyxy, found.classes, found.scores, vectors)


def store(folder, videos: dict[int, list[InstanceSet]]):
    encoded = {number: [EncodedInstances.encode(frame) for frame in frames] for number, frames in videos.items()}
    path = folder / "shard.h5"
    write_shard(
        path,
        kind=KIND,
        videos=[SimpleNamespace(id=number) for number in videos],
        make_columns=lambda video: to_columns(encoded[video.id]),
        settings={},
    )
    return open_instances([path])


def assert_same(found: InstanceSet, expected: InstanceSet) -> None:
    for name in ("masks", "boxes_xyxy", "classes", "scores"):
        given_column, wanted = getattr(found, name), getattr(expected, name)
        assert given_column.dtype == wanted.dtype and torch.equal(given_column, wanted), name


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1, max_size=3), st.integers(0, 99))
def test_round_trip_with_empty_frames(tmp_path_factory, counts, seed):
    rng = np.random.default_rng(seed)
    videos = {number: [random_frame(rng, count) for count in frames] for number, frames in enumerate(counts, start=1)}
    reader = store(tmp_path_factory.mktemp("shard"), videos)
    for number, frames in videos.items():
        assert number in reader and number + 1000 not in reader
        read = reader.video(number)
        assert len(read) == len(frames)
        for index, (item, frame) in enumerate(zip(read, frames, strict=True)):
            assert item.size == frame.size and len(item) == len(frame)
            assert_same(item.decode(), frame)
            assert_same(reader.frame(number, index).decode(), frame)
            if len(frame):
                assert torch.equal(item.decode().appearance, frame.appearance)


def test_appearance_is_kept_only_when_every_instance_has_one(tmp_path):
    rng = np.random.default_rng(0)
    mixed = [random_frame(rng, 2), random_frame(rng, 1, appearance=None)]
    assert store(tmp_path, {1: mixed}).frame(1, 0).appearance is None
    assert "appearance" not in to_columns([EncodedInstances.empty((6, 9))])


def test_an_empty_frame_decodes_to_an_empty_set_of_its_size():
    empty = EncodedInstances.empty((6, 9))
    decoded = empty.decode()
    assert len(empty) == len(decoded) == 0 and decoded.size == (6, 9)
    assert decoded.boxes_xyxy.shape == (0, 4) and decoded.classes.dtype == torch.int64
    again = EncodedInstances.encode(decoded)
    assert again.size == (6, 9) and again.rles == () and again.boxes_xyxy.dtype == np.float32


def test_empty_sets_of_every_origin_share_one_video(tmp_path):
    rng = np.random.default_rng(1)
    frames = [InstanceSet.empty(6, 9), random_frame(rng, 3), InstanceSet.empty(6, 9)]
    reader = store(tmp_path, {7: frames, 8: [InstanceSet.empty(6, 9)]})
    assert [len(frame) for frame in reader.video(7)] == [0, 3, 0]
    assert reader.frame(7, 1).appearance.shape == (3, 4) and reader.frame(7, 2).appearance.shape == (0, 4)
    assert len(reader.frame(8, 0)) == 0 and reader.frame(8, 0).size == (6, 9)


def test_a_position_outside_of_the_video_is_an_error(tmp_path):
    reader = store(tmp_path, {1: [InstanceSet.empty(6, 9)]})
    with pytest.raises(ValueError):
        reader.frame(1, 1)
