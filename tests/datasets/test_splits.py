from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.datasets.splits import sample_held_out, sample_split, selection_videos, split_all
from wsvis_core.errors import WsvisError


def categories(count: int, videos_each: int, overlap: int) -> dict[int, list[int]]:
    """Categories whose video lists share `overlap` ids with the next one."""
    step = videos_each - overlap
    return {c + 1: list(range(1 + c * step, 1 + c * step + videos_each)) for c in range(count)}


def test_sampling_follows_the_written_procedure():
    pools = categories(4, 30, 5)
    generator = random.Random(7)
    expected = set()
    for category in (1, 2, 3, 4):
        expected |= set(generator.sample(pools[category], 10))
    assert sample_held_out(pools, 10, 7) == expected


def test_the_first_seed_that_hits_the_target_is_taken():
    pools = categories(4, 30, 12)
    sizes = [len(sample_held_out(pools, 10, seed)) for seed in range(50)]
    target = sizes[5]
    split = sample_split(range(1, 120), pools, per_category=10, target_union=target)
    assert split.seed == sizes.index(target) and len(split.val) == target and split.hits_target
    later = sample_split(range(1, 120), pools, per_category=10, target_union=target, seed_start=split.seed + 1)
    assert later.seed == split.seed + 1 + sizes[split.seed + 1 :].index(target)


def test_without_a_hit_the_closest_seed_is_taken_and_it_says_so():
    pools = categories(4, 30, 12)
    sizes = [len(sample_held_out(pools, 10, seed)) for seed in range(20)]
    split = sample_split(range(1, 120), pools, per_category=10, target_union=1000, max_seeds=20)
    assert len(split.val) == max(sizes) and split.seed == sizes.index(max(sizes)) and not split.hits_target
    assert split.to_json()["hits_target"] is False


def test_no_target_takes_the_first_seed():
    split = sample_split(range(1, 120), categories(4, 30, 5), per_category=3, target_union=None, seed_start=11)
    assert split.seed == 11 and split.hits_target


def test_a_small_category_keeps_a_training_video():
    pools = {1: [1, 2, 3], 2: [4], 3: list(range(5, 30)), 4: []}
    for seed in range(20):
        held_out = sample_held_out(pools, 10, seed)
        assert len(held_out & {1, 2, 3}) == 2 and 4 not in held_out and len(held_out & set(pools[3])) == 10


def test_a_category_whose_videos_are_all_drawn_for_others_gets_one_back():
    pools = {1: [1, 2, 3, 4], 2: [1, 2]}
    for seed in range(30):
        assert not {1, 2} <= sample_held_out(pools, 3, seed)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.integers(1, 6), st.sets(st.integers(1, 20), min_size=2), min_size=1),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_every_category_can_be_learnt(pools, per_category, seed):
    held_out = sample_held_out({c: sorted(v) for c, v in pools.items()}, per_category, seed)
    assert all(not pool <= held_out for pool in pools.values())
    assert held_out <= set().union(*pools.values())
    assert held_out == sample_held_out({c: sorted(v) for c, v in reversed(pools.items())}, per_category, seed)


def test_split_all_and_its_json():
    split = split_all([3, 1, 2])
    assert split.train == split.val == (1, 2, 3) and split.seed is None
    value = split.to_json()
    assert value["mode"] == "all" and value["train"] == [1, 2, 3] and len(value["split_id"]) == 16


def test_a_split_without_training_or_held_out_videos_is_refused():
    with pytest.raises(WsvisError) as error:
        sample_split([1, 2], {1: [1], 2: [2]}, per_category=10, target_union=None)
    assert str(error.value) == (
        "the split of 2 videos leaves 2 for training and 0 held out, both must have some; lower val_per_category (10),"
        " or use split mode 'all' (every video in both parts) for a set this small"
    )


@pytest.mark.parametrize(
    ("count", "share", "drawn"), [(0, 0.1, 0), (4, 0.1, 0), (10, 0.1, 1), (100, 0.1, 10), (7, 0, 0)]
)
def test_videos_for_choosing_options(count, share, drawn):
    ids = [3 * n + 1 for n in range(count)]
    chosen = selection_videos(ids, share)
    assert len(chosen) == drawn and chosen <= set(ids)
    assert chosen == selection_videos(ids[::-1], share)
