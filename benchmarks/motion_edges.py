"""Does the flow-boundary loss (Eq. 3) form boundaries where motion differs, and nowhere else? Measured on a run's data.

    python -m benchmarks.motion_edges results/bench --units              which unit of F' does it (Eq. 3 alone)
    python -m benchmarks.motion_edges results/bench irn irn_fbound       what the trained IRNets of labellers do

A *motion edge* is a pair of neighbouring cells in different objects (or object and background) of the ground truth
whose median flows differ by more than 1 native pixel per frame. "on" is the mean of the boundary's largest value within
one cell of a motion edge, "off" its mean further than two cells from any object's edge, "found" the share of motion
edges with a boundary above one half within one cell. One thread, a few minutes.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from torch import Tensor
from torch.nn.functional import max_pool2d

from wsvis_core.config import Config
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.flow.load import FlowReader
from wsvis_core.flow.warp import resize_flow
from wsvis_core.flowirn.flow_gradient import flow_at_cells
from wsvis_core.flowirn.instances import predict_boundary_and_displacement
from wsvis_core.flowirn.losses import flow_boundary_loss, pair_affinity
from wsvis_core.flowirn.train import build_irnet
from wsvis_core.images import resize_image, scaled_by, scaled_size, to_tensor
from wsvis_core.storage.files import load_tensors, read_json
from wsvis_core.storage.rle import decode_mask, to_compressed_rle

EDGE_STEP = 1.0  # native pixels per native frame
UNITS: list[dict[str, Any]] = [
    {"pair_cost": cost, "gradient_scale": scale, **quantile}
    for cost, (scale, quantile) in itertools.product(
        ("endpoint", "path_max"),
        [
            (1.0, {}),
            ("quantile", {"quantile": 0.99, "quantile_value": 4.0}),
            ("quantile", {"quantile": 0.95, "quantile_value": 2.0}),
            ("quantile", {"quantile": 0.95, "quantile_value": 4.0}),
            ("quantile", {"quantile": 0.95, "quantile_value": 8.0}),
        ],
    )
]


@dataclass(frozen=True)
class Scene:
    """One frame at IRNet's size: image (3,H,W) normalised, flow at cells (2,h,w), bool masks (h,w) of edges."""

    image: Tensor
    flow: Tensor
    motion_edge: Tensor
    any_edge: Tensor


def load_scenes(results: Path, config: Config, count: int) -> list[Scene]:
    """`count` training frames with objects and flow, drawn with seed 0."""
    dataset = VideoDataset.load(results / "dataset")
    reader = FlowReader(sorted((results / "flow" / config.section("pipeline", results.name).flow).glob("*train-*.h5")))
    truth = read_json(results / "dataset" / "ground_truth_train.json", made_by="rule prepare_dataset")
    masks: dict[tuple[int, int], list[Any]] = {}
    for track in truth["annotations"]:
        for frame, segmentation in enumerate(track["segmentations"]):
            if segmentation is not None:
                masks.setdefault((track["video_id"], frame), []).append(segmentation)
    places = sorted(masks)
    random.Random(0).shuffle(places)
    settings = config.section("stage1", results.name)
    scenes: list[Scene] = []
    for video_id, frame in places:
        video = dataset.video(video_id)
        entry = reader.next_flow(video_id, frame, (video.height, video.width))
        if entry.step and len(scenes) < count:
            size = scaled_by(scaled_size(video.height, video.width, settings.long_side), settings.irnet_scale)
            flow = resize_flow(entry.flow, size) * (video.width / size[1] / entry.gap)
            scenes.append(_scene(dataset, video, frame, size, flow, masks[video_id, frame]))
    return scenes


def _scene(
    dataset: VideoDataset, video: Video, frame: int, size: tuple[int, int], flow: Tensor, objects: Sequence[Any]
) -> Scene:
    cells = flow_at_cells(flow[None])[0][0]
    height, width = cells.shape[-2:]
    ids = np.zeros((video.height, video.width), np.int32)
    for number, segmentation in enumerate(objects, 1):
        ids[decode_mask(to_compressed_rle(segmentation, video.height, video.width))] = number
    labels = torch.from_numpy(cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST))
    motion = torch.stack([cells[:, labels == k].median(dim=1).values for k in labels.unique()])
    own = motion[torch.unique(labels, return_inverse=True)[1]]
    motion_edge, any_edge = (torch.zeros(height, width, dtype=torch.bool) for _ in range(2))
    for dy, dx in ((0, 1), (1, 0)):
        first, second = np.s_[: height - dy, : width - dx], np.s_[dy:, dx:]
        differs = labels[first] != labels[second]
        moves = differs & (torch.linalg.vector_norm(own[first] - own[second], dim=-1) > EDGE_STEP)
        for edges, found in ((motion_edge, moves), (any_edge, differs)):
            edges[first] |= found
            edges[second] |= found
    image = to_tensor(resize_image(dataset.read_frame(video, frame), size))
    return Scene(image, cells, motion_edge, any_edge)


def free_boundary(scene: Scene, options: dict[str, Any], *, steps: int = 100) -> Tensor:
    """The boundary map (h,w) that Eq. 3 alone asks for, without a network: Adam on free logits."""
    logits = torch.full((1, *scene.flow.shape[-2:]), -1.0, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(steps):
        optimizer.zero_grad()
        affinity = pair_affinity(logits.sigmoid(), 10)
        (100 * flow_boundary_loss(affinity, scene.flow[None], radius=10, **options)).backward()
        optimizer.step()
    return logits.detach().sigmoid()[0]


def measure(scenes: Sequence[Scene], boundary_of: Callable[[Scene], Tensor]) -> tuple[float, float, float]:
    """(on, off, found) as in the module's text, over all scenes."""
    on, off = [], []
    for scene in scenes:
        boundary = boundary_of(scene)
        on.append(_widened(boundary, 1)[scene.motion_edge])
        off.append(boundary[_widened(scene.any_edge.float(), 2) == 0])
    edges = torch.cat(on)
    return float(edges.mean()), float(torch.cat(off).mean()), float((edges > 0.5).float().mean())


def _widened(values: Tensor, reach: int) -> Tensor:
    return max_pool2d(values[None, None], 2 * reach + 1, 1, reach)[0, 0]


def _rows(arguments: argparse.Namespace, scenes: list[Scene], config: Config) -> Iterator[tuple[str, Callable]]:
    if arguments.units:
        for options in UNITS:
            unit = str(options["gradient_scale"])
            if unit == "quantile":
                unit = f"{options['quantile']:.0%} quantile = {options['quantile_value']:g}"
            yield f"{options['pair_cost']}, {unit}", lambda scene, options=options: free_boundary(scene, options)
    for labeller in arguments.labellers:
        settings = config.section("flowirn", arguments.results.name, labeller=labeller)
        network = build_irnet(settings, weights="none")
        network.load_state_dict(load_tensors(arguments.results / labeller / "weights.pt")["model"])
        network.eval()
        yield labeller, lambda scene, network=network: predict_boundary_and_displacement(network, scene.image)[0]


def main() -> None:
    """Print one row per unit or labeller."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results/<dataset> of a run")
    parser.add_argument("labellers", nargs="*", help="labellers whose IRNet is trained")
    parser.add_argument("--units", action="store_true", help="compare units of F' with Eq. 3 alone")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config = Config(yaml.safe_load(arguments.config.read_text()), source=str(arguments.config))
    scenes = load_scenes(arguments.results, config, arguments.frames)
    print("| | on motion edges | off edges | found |\n|---|---|---|---|")
    for name, boundary_of in _rows(arguments, scenes, config):
        on, off, found = measure(scenes, boundary_of)
        print(f"| {name} | {on:.2f} | {off:.3f} | {found:.0%} |", flush=True)


if __name__ == "__main__":
    main()
