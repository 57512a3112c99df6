"""What helps a segmenter to learn from few videos: one mask for all classes, a rate for the heads, balanced pairs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from wsvis_core.backbones import build_backbone
from wsvis_core.config import MaskconsistSettings
from wsvis_core.datasets.video import Category, Frame, Video, VideoDataset
from wsvis_core.instances import InstanceSet
from wsvis_core.segmentation import SegmenterOptions, build_segmenter
from wsvis_core.segmentation.build import segmenter_from_settings
from wsvis_core.segmentation.builder import OneMaskPredictor
from wsvis_core.segmentation.train import MOST_REPEATS, pair_order, parameter_groups

# ---- one mask for all classes ---------------------------------------------------------------------------------------


def test_one_mask_is_the_same_for_every_class():
    predictor = OneMaskPredictor(6, num_classes=4)
    logits = predictor(torch.randn(3, 6, 7, 7, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (3, 5, 14, 14) and torch.equal(logits, logits[:, :1].expand(-1, 5, -1, -1))
    assert predictor.mask_fcn_logits.weight.shape == (1, 6, 1, 1) and predictor.mask_fcn_logits.bias.shape == (1,)
    assert not torch.equal(logits[0], logits[1]) and predictor(torch.zeros(0, 6, 7, 7)).shape == (0, 5, 14, 14)


def made(build, sizes, **options):
    torch.manual_seed(0)
    return build(build_backbone("resnet_tiny", output_stride=32, norm="batch"), 3, **(sizes | options)).train()


def other_classes(labels: list[InstanceSet]) -> list[InstanceSet]:
    return [InstanceSet.from_masks(item.masks, (item.classes + 1) % 3) for item in labels]


@pytest.mark.parametrize("agnostic", [True, False])
def test_the_loss_of_masks_asks_for_the_class_only_where_each_has_its_own(build, sizes, batch, agnostic):
    segmenter = made(build, sizes, class_agnostic_masks=agnostic)
    images, labels, _ = batch
    losses = []
    for targets in (labels, other_classes(labels)):
        torch.manual_seed(1)
        losses.append(segmenter.losses(segmenter.encode(images), targets))
    assert torch.equal(losses[0]["loss_mask"], losses[1]["loss_mask"]) == agnostic
    assert not torch.equal(losses[0]["loss_classifier"], losses[1]["loss_classifier"])


def test_one_mask_learns_and_predicts(build, sizes, batch):
    segmenter = made(build, sizes, class_agnostic_masks=True)
    images, labels, _ = batch
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=0.003)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        found = segmenter.losses(segmenter.encode(images), labels)
        sum(found.values()).backward()
        dead = [name for name, p in segmenter.named_parameters() if p.requires_grad and p.grad is None]
        assert dead == []
        optimizer.step()
        losses.append(found["loss_mask"].item())
    assert losses[-1] < 0.8 * losses[0]
    predictions = segmenter.eval().predict(segmenter.encode(images), output_sizes=[(48, 64), (24, 32)] * 2)
    assert [found.size for found in predictions] == [(48, 64), (24, 32)] * 2
    assert sum(map(len, predictions)) > 0
    for found in predictions:
        assert ((found.classes >= 0) & (found.classes < 3)).all() and found.masks.dtype == torch.bool
    nothing = segmenter.losses(segmenter.encode(images[:1]), [InstanceSet.empty(48, 64)])
    assert all(torch.isfinite(value) for value in nothing.values())


def test_by_default_every_class_has_a_mask_of_its_own(sizes):
    assert not SegmenterOptions().class_agnostic_masks
    default, one = made(build_segmenter, sizes), made(build_segmenter, sizes, class_agnostic_masks=True)
    shapes = [{name: tuple(p.shape) for name, p in model.named_parameters()} for model in (default, one)]
    differ = {name: (shapes[0][name], shapes[1][name]) for name in shapes[0] if shapes[0][name] != shapes[1][name]}
    head = "heads.mask_predictor.mask_fcn_logits"
    assert shapes[0].keys() == shapes[1].keys()
    assert differ == {f"{head}.weight": ((4, 16, 1, 1), (1, 16, 1, 1)), f"{head}.bias": ((4,), (1,))}
    assert type(default.heads.mask_predictor).__name__ == "MaskRCNNPredictor"


def test_the_setting_reaches_the_segmenter():
    small = MaskconsistSettings(backbone="resnet_tiny", backbone_weights="none", fpn_channels=16, mask_channels=16)
    for agnostic in (False, True):
        chosen = small.model_copy(update={"representation_size": 32, "class_agnostic_masks": agnostic})
        segmenter = segmenter_from_settings(chosen, 3, weights="none")
        assert len(segmenter.heads.mask_predictor.mask_fcn_logits.bias) == (1 if agnostic else 4)


# ---- the rate of the heads ------------------------------------------------------------------------------------------


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pyramid = nn.Linear(2, 2)
        self.backbone = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.heads = nn.Linear(3, 1)


def test_a_multiplier_of_one_is_one_group():
    parts = Parts()
    [group] = parameter_groups(parts, MaskconsistSettings(lr=0.5))
    assert group["lr"] == 0.5 and [id(p) for p in group["params"]] == [id(p) for p in parts.parameters()]


def test_all_but_the_trunk_has_its_own_rate():
    parts = Parts()
    trunk, heads = parameter_groups(parts, MaskconsistSettings(lr=0.5, head_lr_multiplier=10))
    assert (trunk["lr"], heads["lr"]) == (0.5, 5.0)
    assert [id(p) for p in trunk["params"]] == [id(p) for p in parts.backbone.parameters()]
    assert [id(p) for p in heads["params"]] == [
        id(p) for part in (parts.pyramid, parts.heads) for p in part.parameters()
    ]


def test_groups_hold_each_parameter_of_a_segmenter_once(segmenter):
    groups = parameter_groups(segmenter, MaskconsistSettings(head_lr_multiplier=0.1))
    held = [id(p) for group in groups for p in group["params"]]
    assert len(held) == len(set(held)) and set(held) == {id(p) for p in segmenter.parameters()}
    assert {id(p) for p in groups[0]["params"]} == {id(p) for p in segmenter.backbone.parameters()}
    assert groups[1]["lr"] < groups[0]["lr"]


# ---- the order of pairs ---------------------------------------------------------------------------------------------


def clips(*labels: list[set[int]]) -> tuple[VideoDataset, list[tuple[Video, int]]]:
    """A data set from the classes of every frame of every video, and all its pairs."""
    classes = max((c for frames in labels for frame in frames for c in frame), default=0) + 1
    videos, rows = [], {}
    for number, frames in enumerate(labels, 1):
        videos.append(Video(number, f"clip{number}", 8, 8, tuple(Frame(f"{t}.jpg", t) for t in range(len(frames)))))
        rows[number] = np.array([[c in frame for c in range(classes)] for frame in frames], bool)
    categories = tuple(Category(c + 1, f"class {c}") for c in range(classes))
    ids = tuple(rows)
    dataset = VideoDataset(Path("here"), categories, tuple(videos), (), rows, {"train": ids, "val": ()})
    return dataset, [(video, t) for video in videos for t in range(len(video) - 1)]


def drawn(dataset: VideoDataset, pairs: list[tuple[Video, int]]) -> Counter[int]:
    """How often the pairs of a video are in one balanced pass."""
    return Counter(pairs[i][0].id for i in pair_order(dataset, pairs, "balanced"))


def test_uniform_is_every_pair_once():
    dataset, pairs = clips([{0}] * 4, [{1}] * 2)
    assert pair_order(dataset, pairs, "uniform") == [0, 1, 2, 3] and pair_order(dataset, [], "uniform") == []


def test_balanced_is_uniform_where_nothing_is_rare():
    dataset, pairs = clips([{0}] * 3, [{1}] * 3)
    assert pair_order(dataset, pairs, "balanced") == [0, 1, 2, 3]


def test_a_rare_class_and_a_short_video_are_drawn_more_often():
    # Class 0: one video of 8 pairs. Class 1: videos of 1 and 4 pairs, which have half of its draws each.
    dataset, pairs = clips([{0}] * 9, [{1}] * 2, [{1}] * 5)
    assert drawn(dataset, pairs) == {1: 8, 2: 4, 3: 4}
    order = pair_order(dataset, pairs, "balanced")
    assert order == sorted(order) and Counter(order)[8] == 4


def test_a_pair_of_several_classes_counts_as_its_rarest():
    # Class 1 is in the last pair alone, beside class 0: 8 draws. Of those of class 0 both videos have a half.
    dataset, pairs = clips([{0}] * 5, [{0}, {0}, {0, 1}])
    assert Counter(pair_order(dataset, pairs, "balanced")) == {0: 1, 1: 1, 2: 1, 3: 1, 4: 4, 5: 8}


def test_a_class_of_either_frame_is_one_of_the_pair():
    # Class 1 has two videos of one pair, and each of them half of its draws.
    dataset, pairs = clips([{0}] * 5, [set(), {1}], [{1}, set()])
    assert drawn(dataset, pairs) == {1: 4, 2: 2, 3: 2}


def test_no_pair_is_drawn_without_end():
    dataset, pairs = clips([{0}] * 101, [{1}] * 2)
    assert drawn(dataset, pairs) == {1: 100, 2: MOST_REPEATS}


def test_frames_without_a_label_have_their_share():
    dataset, pairs = clips([{0}] * 5, [set()] * 3)
    assert drawn(dataset, pairs) == {1: 4, 2: 4}
    bare, pairs = clips([set()] * 3)
    assert pair_order(bare, pairs, "balanced") == [0, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 2)), min_size=1, max_size=6))
def test_classes_and_their_videos_are_drawn_about_equally_often(lengths):
    """Videos of (pairs, class). Shares are rounded to whole repeats, by a third at most."""
    dataset, pairs = clips(*([{c}] * (count + 1) for count, c in lengths))
    order = pair_order(dataset, pairs, "balanced")
    repeats = Counter(order)
    assert set(repeats) == set(range(len(pairs))) and max(repeats.values()) <= MOST_REPEATS
    assert len(order) <= MOST_REPEATS * len(pairs)
    per_class: Counter[int] = Counter()
    for number, count in drawn(dataset, pairs).items():
        per_class[lengths[number - 1][1]] += count
    videos = Counter(c for _, c in lengths)
    wanted = [1 / (videos[c] * count) for count, c in lengths]
    if max(wanted) <= MOST_REPEATS * min(wanted):
        assert max(per_class.values()) <= 2 * min(per_class.values())
        for c in per_class:
            own = [drawn(dataset, pairs)[n] for n, (_, other) in enumerate(lengths, 1) if other == c]
            assert max(own) <= 2 * min(own)
