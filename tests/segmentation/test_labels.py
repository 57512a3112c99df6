"""The direct route: predictions that are the pseudo-labels, nothing added and nothing lost."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wsvis_core.errors import WsvisError
from wsvis_core.instances import InstanceSet
from wsvis_core.segmentation.labels import pass_labels_on
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, open_instances, to_columns
from wsvis_core.storage.shards import write_shard

SIZE = (6, 9)


def some(count: int, seed: int) -> EncodedInstances:
    rng = torch.Generator().manual_seed(seed)
    masks = torch.rand((count, *SIZE), generator=rng) < 0.4
    classes, scores = torch.randint(0, 5, (count,), generator=rng), torch.rand(count, generator=rng)
    return EncodedInstances.encode(InstanceSet.from_masks(masks, classes, scores))


# Frames without a label at the ends and between, and a video without any.
FRAMES = {7: [some(0, 0), some(3, 1), some(0, 2), some(1, 3)], 3: [some(0, 4)], 8: [some(2, 5), some(0, 6)]}


@pytest.fixture
def labels(tmp_path):
    write_shard(
        tmp_path / "labels.h5",
        kind=KIND,
        videos=[SimpleNamespace(id=number) for number in FRAMES],
        make_columns=lambda video: to_columns(FRAMES[video.id]),
        settings={},
    )
    return tmp_path / "labels.h5"


def test_masks_classes_and_scores_stay_in_their_order(labels, tmp_path):
    pass_labels_on([SimpleNamespace(id=8), SimpleNamespace(id=7)], labels, tmp_path / "out.h5", digest_of={})
    reader = open_instances([tmp_path / "out.h5"])
    assert 7 in reader and 8 in reader and 3 not in reader
    for number in (7, 8):
        found = reader.video(number)
        assert len(found) == len(FRAMES[number])
        for passed, label in zip(found, FRAMES[number], strict=True):
            assert (passed.size, passed.rles) == (SIZE, label.rles)
            assert passed.classes.tolist() == label.classes.tolist() and passed.appearance is None
            assert np.array_equal(passed.scores, label.scores)
            assert np.array_equal(passed.boxes_xyxy, label.boxes_xyxy)
            assert torch.equal(passed.decode().masks, label.decode().masks)


def test_a_video_without_labels_and_no_video_at_all(labels, tmp_path):
    pass_labels_on([SimpleNamespace(id=3)], labels, tmp_path / "bare.h5", digest_of={})
    [frame] = open_instances([tmp_path / "bare.h5"]).video(3)
    assert len(frame) == 0 and frame.size == SIZE
    pass_labels_on([], labels, tmp_path / "none.h5", digest_of={})
    assert 3 not in open_instances([tmp_path / "none.h5"])


def test_labels_of_other_videos_are_refused(labels, tmp_path):
    with pytest.raises(WsvisError, match="4"):
        pass_labels_on([SimpleNamespace(id=4)], labels, tmp_path / "out.h5", digest_of={})
    assert not (tmp_path / "out.h5").exists()
