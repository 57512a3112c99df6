"""Every kind that a setting offers has its entry in the room that makes it, and no other."""

from __future__ import annotations

from typing import get_args

import pytest

from wsvis_core.config import SECTIONS, PseudoLabelSettings, TrackingSettings
from wsvis_core.flow.infer import ESTIMATORS
from wsvis_core.labellers.build import LABELLERS
from wsvis_core.segmentation.build import BACKENDS
from wsvis_core.tracking.tracker import LINKERS

KINDS = {
    "flow.estimator": ESTIMATORS,
    "pseudo_labels.kind": LABELLERS,
    "maskconsist.backend": BACKENDS,
    "tracking.kind": LINKERS,
}


@pytest.mark.parametrize("setting", KINDS)
def test_settings_and_rooms_have_the_same_kinds(setting: str) -> None:
    section, key = setting.split(".")
    offered = get_args(SECTIONS[section].model_fields[key].annotation)
    assert set(offered) == set(KINDS[setting]), f"{setting} in wsvis_core/config.py and the room's dict differ"


def test_labels_from_before_there_were_kinds_stay_valid() -> None:
    assert "kind" not in PseudoLabelSettings().influences()


@pytest.mark.parametrize("kind", get_args(TrackingSettings.model_fields["kind"].annotation))
def test_only_the_settings_of_the_chosen_tracker_count(kind: str) -> None:
    own = set(TrackingSettings(kind=kind).influences()) & set(LINKERS)
    assert own == {kind}
