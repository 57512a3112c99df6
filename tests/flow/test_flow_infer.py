from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from wsvis_core.config import FlowSettings
from wsvis_core.datasets import VideoDataset, prepare_dataset
from wsvis_core.errors import WsvisError
from wsvis_core.flow.infer import KIND, build_estimator, extract_flow, video_flow
from wsvis_core.flow.load import FlowReader
from wsvis_core.storage.shards import ShardReader

SIZE = (24, 40)


class Displacement:
    """An estimator that answers with a constant flow: (difference of the frames' mean brightness, 7), at half size."""

    def estimate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        flow = np.zeros((2, first.shape[0] // 2, first.shape[1] // 2), np.float32)
        flow[0], flow[1] = np.float32(second.mean()) - np.float32(first.mean()), 7
        return flow


def columns(dataset, video, settings=None, estimator=None):
    return video_flow(dataset, video, estimator or Displacement(), settings or FlowSettings(store_short_side=24))


def longest(dataset):
    return max(dataset.videos, key=len)


def without_native_frames(dataset, video):
    frames = tuple(dataclasses.replace(frame, next_file_name=None, previous_file_name=None) for frame in video.frames)
    return dataclasses.replace(video, frames=frames)


def test_columns_of_a_video(dataset):
    video = longest(dataset)
    found = columns(dataset, video)
    assert found["next"].shape == (4, 2, *SIZE) and found["forward"].shape == found["backward"].shape == (3, 2, *SIZE)
    assert {name: column.dtype.name for name, column in found.items()} == {
        "next": "float16",
        "next_step": "int8",
        "next_gap": "int32",
        "forward": "float16",
        "backward": "float16",
        "pair_valid": "bool",
        "consistent": "float32",
    }
    assert found["next_step"].tolist() == [1] * 4 and found["next_gap"].tolist() == [1] * 4
    assert found["pair_valid"].tolist() == [True] * 3
    assert ((found["consistent"] >= 0) & (found["consistent"] <= 1)).all()


def test_every_column_has_the_right_frames_direction_and_unit(dataset):
    video = longest(dataset)
    found = columns(dataset, video)
    light = [dataset.read_frame(video, t).mean() for t in range(len(video))]
    for t in range(3):
        change = light[t + 1] - light[t]
        assert found["forward"][t, 0].mean() == pytest.approx(change, abs=0.02)
        assert found["backward"][t, 0].mean() == pytest.approx(-change, abs=0.02)
        native = dataset.read_neighbour(video, t)[0].mean() - light[t]
        assert found["next"][t, 0].mean() == pytest.approx(native, abs=0.02)
    # The estimator works at 24×40 here, which is also the stored size; at half of that, vectors halve.
    assert (found["next"][:, 1] == 7).all()
    small = columns(dataset, video, FlowSettings(store_short_side=12))
    assert small["next"].shape[2:] == (12, 20) and (small["next"][:, 1] == 3.5).all()


def test_small_videos_are_not_stored_larger_than_they_are(dataset):
    found = columns(dataset, longest(dataset), FlowSettings(store_short_side=1000))
    assert found["next"].shape[2:] == (48, 80) and (found["next"][:, 1] == 14).all()


def test_annotated_frames_stand_in_where_native_ones_are_missing(dataset):
    video = without_native_frames(dataset, longest(dataset))
    found = columns(dataset, video)
    stride = video.frames[1].native_index - video.frames[0].native_index
    assert stride == 2 and found["next_step"].tolist() == [1, 1, 1, -1] and found["next_gap"].tolist() == [stride] * 4
    assert np.array_equal(found["next"][:3], found["forward"]) and np.array_equal(
        found["next"][3], found["backward"][2]
    )


def test_frames_far_apart_are_no_pair(dataset):
    video = longest(dataset)
    frames = list(video.frames)
    frames[2:] = [dataclasses.replace(frame, native_index=frame.native_index + 9) for frame in frames[2:]]
    video = dataclasses.replace(video, frames=tuple(frames))
    assert columns(dataset, video)["pair_valid"].tolist() == [True, False, True]
    near = FlowSettings(store_short_side=24, max_index_gap=11)
    assert columns(dataset, video, near)["pair_valid"].tolist() == [True, True, True]


def one_frame(dataset):
    return next(video for video in dataset.videos if len(video) == 1)


@pytest.mark.parametrize("native", [True, False])
def test_a_one_frame_video(dataset, native):
    video = one_frame(dataset)
    video = video if native else without_native_frames(dataset, video)
    found = columns(dataset, video)
    # The generator's one-frame video has no native neighbour either.
    assert found["next"].shape == (1, 2, *SIZE) and not found["next"].any()
    assert found["next_step"].tolist() == [0] and found["next_gap"].tolist() == [0]
    assert found["forward"].shape == found["backward"].shape == (0, 2, *SIZE)
    assert len(found["pair_valid"]) == len(found["consistent"]) == 0


def test_the_last_frame_may_have_only_a_native_frame_before_it(prepared, tmp_path):
    index = json.loads((prepared / "videos.json").read_text())
    root = index["root"]
    prepare_dataset(root, tmp_path, name="tiny", split_mode="all")
    dataset = VideoDataset.load(tmp_path)
    video = longest(dataset)
    last = dataclasses.replace(
        video.frames[-1], next_file_name=None, previous_file_name=video.frames[-2].next_file_name
    )
    video = dataclasses.replace(video, frames=(*video.frames[:-1], last))
    found = columns(dataset, video)
    assert found["next_step"].tolist() == [1, 1, 1, -1] and found["next_gap"].tolist() == [1] * 4
    before, now = dataset._read_image(video, last.previous_file_name).mean(), dataset.read_frame(video, 3).mean()
    assert found["next"][3, 0].mean() == pytest.approx(before - now, abs=0.02)


def test_the_reader_gives_pixels_of_the_size_asked_for(dataset, flow_shard, tiny_settings):
    reader, video = FlowReader([flow_shard]), longest(dataset)
    stored = video_flow(dataset, video, build_estimator(tiny_settings.flow), tiny_settings.flow)
    for size in (SIZE, (48, 80), (12, 20), (31, 57)):
        entry = reader.next_flow(video.id, 1, size)
        forward, backward = reader.pair(video.id, 2, size)
        assert (entry.step, entry.gap) == (1, 1)
        for flow, name, t in ((entry.flow, "next", 1), (forward, "forward", 2), (backward, "backward", 2)):
            assert flow.shape == (2, *size) and flow.dtype == torch.float32
            mean = stored[name][t].astype(np.float32).mean(axis=(1, 2)) * [size[1] / SIZE[1], size[0] / SIZE[0]]
            assert flow.mean(dim=(1, 2)).tolist() == pytest.approx(mean.tolist(), rel=0.1, abs=0.1)
    assert np.array_equal(reader.next_flow(video.id, 1, SIZE).flow.numpy(), stored["next"][1].astype(np.float32))
    assert np.array_equal(reader.backward(video.id, 0), stored["backward"][0].astype(np.float32))
    assert reader.pair_valid(video.id) == [True] * 3 and reader.pair_valid(one_frame(dataset).id) == []
    still = reader.next_flow(one_frame(dataset).id, 0, (9, 9))
    assert (still.step, still.gap) == (0, 0) and not still.flow.any()


def test_extraction_twice_gives_equal_columns_and_says_what_they_are(dataset, flow_shard, tiny_settings, tmp_path):
    extract_flow(dataset, dataset.videos, tmp_path / "again.h5", tiny_settings.flow, digest_of={})
    first, again = (ShardReader([path], kind=KIND) for path in (flow_shard, tmp_path / "again.h5"))
    for video in dataset.videos:
        digests = [reader.columns(video.id).attrs["content_digest"] for reader in (first, again)]
        assert digests[0] == digests[1]
    assert first.attributes()["unit"] == "pixels of the stored array"
    assert "I_a(p) = I_b(p + F_ab(p))" in first.attributes()["direction"]


def test_an_unknown_video(flow_shard):
    with pytest.raises(WsvisError, match="video 99 is in none of the 'flow' shards"):
        FlowReader([flow_shard]).next_flow(99, 0, SIZE)
