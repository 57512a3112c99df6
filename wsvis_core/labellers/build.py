"""Labellers by name, from the files and settings of a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from wsvis_core.config import FCamSettings, FlowirnSettings, PseudoLabelSettings
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.errors import WsvisError
from wsvis_core.labellers.flowirn import FlowIrnLabeller, build_flowirn_labeller
from wsvis_core.labellers.interface import Labeller


@dataclass(frozen=True)
class LabellerParts:
    """What a labeller is made from, for one shard of videos.

    weights: of its IRNet; None for a kind that has none · cams, flow: the shards with these videos · irnet_scale:
    size of IRNet's frames relative to the CAMs' · device: to compute on.
    """

    dataset: VideoDataset
    weights: Path | None
    cams: Path
    flow: Path
    settings: PseudoLabelSettings
    flowirn: FlowirnSettings
    f_cam: FCamSettings
    irnet_scale: float
    device: torch.device


def build_labeller(parts: LabellerParts) -> Labeller:
    """The labeller that `pseudo_labels.kind` names."""
    return LABELLERS[parts.settings.kind](parts)


def _irnet(parts: LabellerParts) -> FlowIrnLabeller:
    if parts.weights is None:
        raise WsvisError("pseudo_labels.kind 'irnet' needs the weights of an IRNet; the rule's input has none")
    return build_flowirn_labeller(
        parts.dataset,
        parts.weights,
        parts.cams,
        parts.flow,
        parts.flowirn,
        parts.settings,
        parts.f_cam,
        parts.irnet_scale,
        parts.device,
    )


# By the names of `pseudo_labels.kind` (docs/add_labeller.md).
LABELLERS: dict[str, Callable[[LabellerParts], Labeller]] = {"irnet": _irnet}
