from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.datasets.sharding import partition, shard_names, shard_videos
from wsvis_core.datasets.video import Frame, Video

QUICK = settings(max_examples=30, deadline=None)


def videos_of(lengths: list[int]) -> list[Video]:
    return [
        Video(number, f"v{number}", 8, 6, tuple(Frame(f"{t}.jpg", t) for t in range(length)))
        for number, length in enumerate(lengths, start=1)
    ]


@QUICK
@given(st.lists(st.integers(1, 40), max_size=20), st.integers(1, 6))
def test_a_partition_holds_every_video_once_in_order_and_balances_frames(lengths, count):
    videos = videos_of(lengths)
    groups = partition(videos, count)
    assert len(groups) == count
    assert sorted(video.id for group in groups for video in group) == [video.id for video in videos]
    assert all([video.id for video in group] == sorted(video.id for video in group) for group in groups)
    frames = [sum(map(len, group)) for group in groups]
    # No group could give a video to the smallest one and leave both better off by more than that video.
    assert max(frames) - min(frames) <= max(lengths, default=0)


@QUICK
@given(st.lists(st.integers(1, 40), max_size=12), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_groups_do_not_depend_on_the_order_of_the_videos(lengths, count, random):
    videos = videos_of(lengths)
    shuffled = random.sample(videos, len(videos))
    expected = [{video.id for video in group} for group in partition(videos, count)]
    assert [{video.id for video in group} for group in partition(shuffled, count)] == expected


def test_names_are_sorted_like_their_numbers():
    assert shard_names("train", 3) == ["train-000", "train-001", "train-002"] and shard_names("val", 0) == []
    assert shard_names("train", 999) == sorted(shard_names("train", 999))


def test_shards_of_a_data_set_cover_their_split(dataset):
    counts = {"train": 4, "val": 9}
    for split, count in counts.items():
        parts = [shard_videos(dataset, name, counts) for name in shard_names(split, count)]
        assert sorted(video.id for part in parts for video in part) == [video.id for video in dataset.split(split)]
    assert sum(not part for part in parts) == 3  # six videos in nine shards


def test_a_split_s_name_may_hold_a_dash(dataset):
    class Named:
        def split(self, name):
            assert name == "train-a"
            return dataset.videos

    assert shard_videos(Named(), "train-a-001", {"train-a": 2}) == partition(dataset.videos, 2)[1]
