"""IRN and flowIRN as a labeller: IRNet, (f-)CAM seeds, grouping and random walk (§1.9–1.10, §2.4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from wsvis_core.cam.infer import CamReader
from wsvis_core.config import FCamSettings, FlowirnSettings, PseudoLabelSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.flow.load import FlowReader
from wsvis_core.flowirn.instances import group_instances, predict_boundary_and_displacement
from wsvis_core.flowirn.label_map_shards import f_cams
from wsvis_core.flowirn.network import IRNet
from wsvis_core.flowirn.train import build_irnet
from wsvis_core.images import resize_image, scaled_by, to_tensor
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.files import load_tensors


@dataclass(frozen=True)
class FlowIrnLabeller:
    """Frames → instances with a trained IRNet."""

    dataset: VideoDataset
    network: IRNet
    cams: CamReader
    flow: FlowReader
    settings: PseudoLabelSettings
    f_cam: FCamSettings
    irnet_scale: float
    device: torch.device

    @torch.inference_mode()
    def produce(self, video: Video, index: int) -> InstanceSet:
        """Instances of one frame at its original size; empty for a frame without a class label."""
        keys = self.cams.keys(video.id, index)
        if len(keys) == 0:
            return InstanceSet.empty(video.height, video.width)
        size = scaled_by(self.cams.size(video.id), self.irnet_scale)
        image = to_tensor(resize_image(self.dataset.read_frame(video, index), size))
        boundary, displacement = predict_boundary_and_displacement(self.network, image.to(self.device))
        seeds, _ = f_cams(self.cams, self.flow, video, index, self.f_cam)
        return group_instances(
            boundary,
            displacement,
            _at_cells(seeds, boundary).to(self.device),
            torch.from_numpy(keys).to(self.device),
            size,
            (video.height, video.width),
            **self.settings.model_dump(exclude={"kind", "max_cover"}),
        ).to("cpu")


def _at_cells(seeds: Tensor, boundary: Tensor) -> Tensor:
    """Seed CAMs (K,h,w) on IRNet's cells, bilinear (align_corners=False); unchanged at irnet_scale 1."""
    if seeds.shape[-2:] == boundary.shape[-2:]:
        return seeds
    return F.interpolate(seeds[None], size=boundary.shape[-2:], mode="bilinear", align_corners=False)[0]


def build_flowirn_labeller(
    dataset: VideoDataset,
    weights: Path,
    cams: Path,
    flow: Path,
    settings: FlowirnSettings,
    pseudo_labels: PseudoLabelSettings,
    f_cam: FCamSettings,
    irnet_scale: float,
    device: torch.device,
) -> FlowIrnLabeller:
    """The labeller of a trained IRNet over one shard of videos."""
    network = build_irnet(settings, weights="none")
    network.load_state_dict(load_tensors(weights)["model"])
    network = network.to(device).eval()
    cam_reader, flow_reader = CamReader([cams]), FlowReader([flow])
    return FlowIrnLabeller(dataset, network, cam_reader, flow_reader, pseudo_labels, f_cam, irnet_scale, device)
