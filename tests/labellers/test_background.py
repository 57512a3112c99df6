"""Labels taken for background: hand-made masks on a frame of 10×20 pixels, and what is left out is counted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from wsvis_core.instances import InstanceSet
from wsvis_core.labellers.background import drop_background, suspect_background
from wsvis_core.labellers.infer import make_pseudo_labels
from wsvis_core.storage.instance_shards import open_instances

HEIGHT, WIDTH = 10, 20


def rectangle(top: int, left: int, bottom: int, right: int) -> torch.Tensor:
    mask = torch.zeros((HEIGHT, WIDTH), dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def frame_border(*sides: str) -> torch.Tensor:
    """One pixel along some sides."""
    lines = {"top": (0, 0, 1, WIDTH), "bottom": (HEIGHT - 1, 0, HEIGHT, WIDTH)}
    lines |= {"left": (0, 0, HEIGHT, 1), "right": (0, WIDTH - 1, HEIGHT, WIDTH)}
    return torch.stack([rectangle(*lines[side]) for side in sides]).any(dim=0)


INSIDE = rectangle(1, 1, 9, 19)  # 144 of 200 pixels, no side
HALF_INSIDE = rectangle(1, 1, 9, 13)  # 96 pixels
LOWER_MEADOW = rectangle(6, 0, 10, 20)  # 80 pixels: bottom, left and right
MIDDLE_STRIP = rectangle(3, 0, 7, 20)  # 80 pixels: left and right
CORNER = rectangle(2, 0, 10, 8)  # 64 pixels: left and bottom
SMALL_AT_THREE = frame_border("left", "bottom", "right")  # 38 pixels, less than a fifth


@pytest.mark.parametrize(
    ("mask", "background"),
    [
        (INSIDE, True),
        (HALF_INSIDE, False),
        (LOWER_MEADOW, True),
        (MIDDLE_STRIP, False),
        (CORNER, False),
        (SMALL_AT_THREE, False),
        (torch.ones(HEIGHT, WIDTH, dtype=torch.bool), True),
        (torch.zeros(HEIGHT, WIDTH, dtype=torch.bool), False),
    ],
    ids="inside half_inside meadow strip corner small_at_three all nothing".split(),
)
def test_cover_and_sides_tell_background(mask, background):
    assert suspect_background(mask[None], max_cover=0.6).tolist() == [background]
    # It is the same on its side, and mirrored.
    for turned in (mask.T, mask.flip(0), mask.flip(1)):
        assert suspect_background(turned[None], max_cover=0.6).tolist() == [background]


def test_exactly_the_limit_is_kept():
    half = rectangle(0, 5, 10, 15)  # 100 of 200 pixels, top and bottom
    assert suspect_background(torch.stack([half, half]), max_cover=0.5).tolist() == [False, False]
    assert suspect_background(half[None], max_cover=0.49).tolist() == [True]
    # A tenth of a side does not touch it, more does: one and two of ten pixels beside the meadow's right end.
    for rows, background in ((1, False), (2, True)):
        mask = rectangle(6, 0, 10, 19) | rectangle(6, 19, 6 + rows, 20)
        assert suspect_background(mask[None], max_cover=0.6).tolist() == [background]


def test_a_lower_limit_never_keeps_more():
    masks = torch.stack([rectangle(1, 1, 9, right) for right in range(1, 20)])
    kept = [int((~suspect_background(masks, max_cover=limit)).sum()) for limit in (0.2, 0.4, 0.6, 0.8, 1.0)]
    # Eight pixels more with every column: 0, 8, … 144 of 200.
    assert kept == [6, 11, 16, 19, 19]


def test_the_rest_stays_in_its_order():
    masks = torch.stack([CORNER, INSIDE, HALF_INSIDE, LOWER_MEADOW])
    found = drop_background(
        InstanceSet.from_masks(masks, torch.tensor([4, 1, 2, 3]), torch.tensor([0.1, 0.9, 0.3, 0.4])), max_cover=0.6
    )
    assert found.classes.tolist() == [4, 2] and torch.equal(found.masks, masks[[0, 2]])
    assert found.scores.tolist() == pytest.approx([0.1, 0.3])


def test_no_instance_is_none():
    empty = InstanceSet.empty(HEIGHT, WIDTH)
    assert suspect_background(empty.masks, max_cover=0.6).shape == (0,)
    assert len(drop_background(empty, max_cover=0.6)) == 0 and drop_background(empty, max_cover=0.6).size == empty.size


# ---- in a shard -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A labeller that gives the masks it was made with."""

    masks: dict[int, list[list[torch.Tensor]]]

    def produce(self, video, index: int) -> InstanceSet:
        masks = self.masks[video.id][index]
        if not masks:
            return InstanceSet.empty(HEIGHT, WIDTH)
        return InstanceSet.from_masks(torch.stack(masks), torch.arange(len(masks)))


class Clip(SimpleNamespace):
    def __len__(self) -> int:
        return self.length


MASKS = {1: [[INSIDE, CORNER], [], [LOWER_MEADOW, INSIDE]], 2: [[HALF_INSIDE]]}
CLIPS = [Clip(id=1, name="meadow", length=3), Clip(id=2, name="street", length=1)]


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_left_out_is_counted_per_video(tmp_path, caplog, threads):
    with caplog.at_level(logging.INFO, logger="wsvis_core.labellers.infer"):
        make_pseudo_labels(Drawn(MASKS), CLIPS, tmp_path / "l.h5", max_cover=0.6, threads=threads, digest_of={})
    said = [record.getMessage() for record in caplog.records if record.name == "wsvis_core.labellers.infer"]
    assert said == ["meadow: 3 labels are left out, taken for background"]
    reader = open_instances([tmp_path / "l.h5"])
    assert [frame.classes.tolist() for frame in reader.video(1)] == [[1], [], []]
    assert [frame.classes.tolist() for frame in reader.video(2)] == [[0]]
    assert torch.equal(reader.frame(1, 0).decode().masks, CORNER[None])


def test_by_default_all_are_kept(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="wsvis_core.labellers.infer"):
        make_pseudo_labels(Drawn(MASKS), CLIPS, tmp_path / "l.h5", digest_of={})
    assert not [record for record in caplog.records if record.name == "wsvis_core.labellers.infer"]
    assert [len(frame) for frame in open_instances([tmp_path / "l.h5"]).video(1)] == [2, 0, 2]


def test_a_video_without_a_frame_has_no_label(tmp_path):
    for limit in (None, 0.6):
        output = tmp_path / f"{limit}.h5"
        make_pseudo_labels(Drawn({3: []}), [Clip(id=3, name="none", length=0)], output, max_cover=limit, digest_of={})
        assert open_instances([output]).video(3) == []
