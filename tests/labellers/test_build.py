from __future__ import annotations

import dataclasses

import pytest
import torch

from wsvis_core.config import FCamSettings, PseudoLabelSettings
from wsvis_core.errors import WsvisError
from wsvis_core.labellers.build import LabellerParts, build_labeller

SETTINGS = PseudoLabelSettings(radius=3, centroid_iterations=20, exp_times=3, background_threshold=0.3)


@pytest.fixture
def parts(stage1, irn_weights) -> LabellerParts:
    files = (stage1.dataset, irn_weights, stage1.cams, stage1.flow)
    return LabellerParts(
        *files, SETTINGS, stage1.settings.flowirn, FCamSettings(enabled=False), 1.0, torch.device("cpu")
    )


def test_irnet_is_built_from_its_parts(parts, dataset):
    labeller = build_labeller(parts)
    assert labeller.settings == SETTINGS and labeller.f_cam == parts.f_cam and not labeller.network.training
    found = [labeller.produce(video, t) for video in dataset.videos for t in range(len(video))]
    assert sum(map(len, found)) > 0


def test_irnet_without_weights(parts):
    with pytest.raises(WsvisError) as caught:
        build_labeller(dataclasses.replace(parts, weights=None))
    assert str(caught.value) == "pseudo_labels.kind 'irnet' needs the weights of an IRNet; the rule's input has none"
