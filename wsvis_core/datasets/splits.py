"""The held-out split: some random videos of every category (docs/method.md §8.1)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import settings_digest


@dataclass(frozen=True)
class Split:
    """Video ids of both parts. ``seed`` is the one that was taken (None in mode "all")."""

    mode: str
    train: tuple[int, ...]
    val: tuple[int, ...]
    seed: int | None
    target_union: int | None

    @property
    def hits_target(self) -> bool:
        return self.target_union is None or len(self.val) == self.target_union

    def to_json(self) -> dict[str, Any]:
        """The content of splits.json; ``split_id`` names the two id lists."""
        ids = {"train": list(self.train), "val": list(self.val)}
        return {
            "version": 1,
            "mode": self.mode,
            "seed": self.seed,
            "target_union": self.target_union,
            "hits_target": self.hits_target,
            "split_id": settings_digest(ids),
            **ids,
        }


def sample_held_out(videos_of_category: Mapping[int, Sequence[int]], per_category: int, seed: int) -> set[int]:
    """Ids of the held-out videos for one seed: ``per_category`` of every category, drawn category by category.

    One `random.Random(seed)`, categories in id order, each drawn from its own sorted videos independently of the
    others (a video may be drawn twice). A category keeps at least one training video where another category's
    draw allows it.
    """
    # Paper silent: classes with 10 or fewer videos; one stays for training, else nothing of it could be learnt.
    generator = random.Random(seed)
    drawn: dict[int, list[int]] = {}
    for category_id in sorted(videos_of_category):
        pool = sorted(videos_of_category[category_id])
        drawn[category_id] = generator.sample(pool, min(per_category, max(len(pool) - 1, 0)))
    union = {video_id for ids in drawn.values() for video_id in ids}
    for category_id in sorted(videos_of_category):
        pool = set(videos_of_category[category_id])
        if pool and pool <= union:
            union.discard((drawn[category_id] or sorted(pool))[-1])
    return union


def sample_split(
    video_ids: Sequence[int],
    videos_of_category: Mapping[int, Sequence[int]],
    *,
    per_category: int = 10,
    target_union: int | None = 390,
    seed_start: int = 0,
    max_seeds: int = 10_000,
) -> Split:
    """The split of the first seed (from ``seed_start`` on) whose held-out union has ``target_union`` videos.

    Without such a seed among ``max_seeds``: the closest one, the earliest of several. ``target_union=None`` takes
    ``seed_start`` itself.
    """
    best_seed, best = seed_start, sample_held_out(videos_of_category, per_category, seed_start)
    if target_union is not None:
        for seed in range(seed_start + 1, seed_start + max_seeds):
            if len(best) == target_union:
                break
            union = sample_held_out(videos_of_category, per_category, seed)
            if abs(len(union) - target_union) < abs(len(best) - target_union):
                best_seed, best = seed, union
    train = tuple(sorted(set(video_ids) - best))
    if not best or not train:
        raise WsvisError(
            f"the split of {len(video_ids)} videos leaves {len(train)} for training and {len(best)} held out, both must"
            f" have some; lower val_per_category ({per_category}), or use split mode 'all' (every video in both parts)"
            " for a set this small"
        )
    return Split("sampled", train, tuple(sorted(best)), best_seed, target_union)


def split_all(video_ids: Sequence[int]) -> Split:
    """Every video in both parts: for looking at tiny sets, where numbers say nothing about new videos."""
    ids = tuple(sorted(video_ids))
    return Split("all", ids, ids, None, None)


def selection_videos(video_ids: Sequence[int], share: float) -> set[int]:
    """The training videos that options are chosen on: `round(share * n)` of n, drawn once and for all (§7.6).

    A function of the ids and the share alone, so every variant of a run is compared on the same videos.
    """
    return set(random.Random(0).sample(sorted(video_ids), round(share * len(video_ids))))
