from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from wsvis_core.config import PseudoLabelSettings
from wsvis_core.instances import InstanceSet
from wsvis_core.labellers.flowirn import FlowIrnLabeller, build_flowirn_labeller
from wsvis_core.labellers.infer import make_pseudo_labels
from wsvis_core.storage.instance_shards import KIND, open_instances
from wsvis_core.storage.shards import ShardReader

CPU = torch.device("cpu")
SETTINGS = PseudoLabelSettings(radius=3, centroid_iterations=20, exp_times=3, background_threshold=0.3)


@pytest.fixture(scope="module")
def labeller(stage1, irn_weights) -> FlowIrnLabeller:
    return build_flowirn_labeller(
        stage1.dataset,
        irn_weights,
        stage1.cams,
        stage1.flow,
        stage1.settings.flowirn,
        SETTINGS,
        stage1.settings.f_cam,
        1.0,
        CPU,
    )


def frames(dataset):
    return [(video, t) for video in dataset.videos for t in range(len(video))]


def test_instances_have_the_frame_s_size_and_classes(labeller, dataset):
    found = 0
    for video, t in frames(dataset):
        instances = labeller.produce(video, t)
        assert instances.size == (video.height, video.width) and instances.masks.device == CPU
        allowed = set(np.flatnonzero(dataset.class_labels(video)[t]))
        assert set(instances.classes.tolist()) <= allowed
        assert ((instances.scores >= 0) & (instances.scores <= 1)).all()
        assert instances.masks.flatten(1).any(dim=1).all()
        found += len(instances)
    assert found > 0


def test_a_frame_without_a_class_has_no_instance(labeller, dataset):
    bare = [(video, t) for video, t in frames(dataset) if not dataset.class_labels(video)[t].any()]
    assert len(bare) == 2 and all(len(labeller.produce(*frame)) == 0 for frame in bare)


def test_f_cam_amplifies_seeds_only_where_it_is_on(labeller, dataset):
    off = dataclasses.replace(labeller, f_cam=labeller.f_cam.model_copy(update={"enabled": False}))
    none = dataclasses.replace(labeller, f_cam=labeller.f_cam.model_copy(update={"seeds": "none"}))
    labelled = [(v, t) for v, t in frames(dataset) if dataset.class_labels(v)[t].any()]

    def same(a: InstanceSet, b: InstanceSet) -> bool:
        return len(a) == len(b) and torch.equal(a.masks, b.masks) and torch.equal(a.scores, b.scores)

    assert all(same(off.produce(*frame), none.produce(*frame)) for frame in labelled)
    assert not all(same(off.produce(*frame), labeller.produce(*frame)) for frame in labelled)


def test_a_finer_irnet_grid_gives_instances_of_the_same_size(labeller, dataset):
    finer = dataclasses.replace(labeller, irnet_scale=1.5)
    instances = finer.produce(dataset.videos[0], 0)
    assert instances.size == (48, 80)


def test_pseudo_labels_are_what_the_labeller_produces_and_twice_the_same(labeller, dataset, tmp_path):
    for name in ("a", "b"):
        make_pseudo_labels(labeller, dataset.videos, tmp_path / f"{name}.h5", digest_of={})
    reader = open_instances([tmp_path / "a.h5"])
    for video, t in frames(dataset):
        stored, direct = reader.frame(video.id, t).decode(), labeller.produce(video, t)
        assert torch.equal(stored.masks, direct.masks) and torch.equal(stored.classes, direct.classes)
        assert torch.equal(stored.scores, direct.scores)
    shards = [ShardReader([tmp_path / f"{name}.h5"], kind=KIND) for name in ("a", "b")]
    for video in dataset.videos:
        assert len({shard.columns(video.id).attrs["content_digest"] for shard in shards}) == 1


def test_any_labeller_can_be_used(dataset, tmp_path):
    class Whole:
        """The whole frame is one object of the frame's first class."""

        def produce(self, video, index):
            classes = torch.from_numpy(np.flatnonzero(dataset.class_labels(video)[index])[:1])
            return InstanceSet.from_masks(
                torch.ones(len(classes), video.height, video.width, dtype=torch.bool), classes
            )

    make_pseudo_labels(Whole(), dataset.videos[:2], tmp_path / "whole.h5", digest_of={})
    video = dataset.videos[0]
    stored = open_instances([tmp_path / "whole.h5"]).frame(video.id, 0)
    assert len(stored) == 1 and stored.decode().masks.all()
