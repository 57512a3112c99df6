"""Where the time of the pseudo-label stage goes: seconds per frame of every part."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks import scenes
from wsvis_core.cam.amplify import amplify_cams
from wsvis_core.config import FlowirnSettings
from wsvis_core.datasets.frame_files import read_rgb
from wsvis_core.flowirn.instances import (
    cluster_cells,
    decode,
    detections,
    instance_seeds,
    predict_boundary_and_displacement,
    track_centroids,
)
from wsvis_core.flowirn.random_walk import random_walk
from wsvis_core.flowirn.train import build_irnet
from wsvis_core.images import resize_image, to_tensor
from wsvis_core.storage.instance_shards import EncodedInstances

FRAME, WORKING = (720, 1280), (288, 512)
REPEATS = 3
Result = TypeVar("Result")


def print_breakdown() -> None:
    """Print a Markdown table of one frame of 720 x 1280 worked on at 288 x 512 with ResNet-50, one thread, CPU time.

    The network is not trained: its outputs are replaced by made-up ones with objects before they are grouped.
    """
    runs = [_seconds_per_part() for _ in range(REPEATS)]
    best = {part: min(run[part] for run in runs) for part in runs[0]}
    total = sum(best.values())
    print("| pseudo-label stage, 288×512, ResNet-50 | seconds per frame | share |")
    print("|---|---|---|")
    for part, seconds in {**best, "whole": total}.items():
        print(f"| {part} | {seconds:.4f} | {seconds / total:.1%} |")


@torch.inference_mode()
def _seconds_per_part() -> dict[str, float]:
    torch.manual_seed(0)
    network = build_irnet(FlowirnSettings(), weights="none").eval()
    seconds: dict[str, float] = {}

    def timed(part: str, call: Callable[[], Result]) -> Result:
        began = time.process_time()
        result = call()
        seconds[part] = time.process_time() - began
        return result

    with tempfile.TemporaryDirectory() as folder:
        path = _write_frame(Path(folder))
        image = timed("frame: read, resize", lambda: to_tensor(resize_image(read_rgb(path), WORKING)))
    timed("network, frame and mirror", lambda: predict_boundary_and_displacement(network, image))
    cam, high_res, flow = _stored_cams_and_flow()
    cam = timed("f-CAM seeds", lambda: amplify_cams(cam.float(), high_res.float(), flow)[0])
    field, boundary = scenes.centre_field(0.3), scenes.closed_contours()
    clusters = timed("centroids, clusters", lambda: cluster_cells(field, track_centroids(field)))
    seeds, owners = instance_seeds(cam, clusters)
    scores = timed(f"random walk, {len(seeds)} seeds", lambda: random_walk(seeds, boundary))
    found = timed(
        "decision, pieces", lambda: detections(*decode(scores, WORKING, FRAME), owners, min_area_fraction=0.01)
    )
    timed(f"masks as run lengths, {len(found)} objects", lambda: EncodedInstances.encode(found))
    return seconds


def _write_frame(folder: Path) -> Path:
    """A JPEG of smooth noise."""
    random = np.random.default_rng(0)
    picture = cv2.resize(random.integers(0, 255, (90, 160, 3), np.uint8), FRAME[::-1], interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "frame.jpg"), picture)
    return folder / "frame.jpg"


def _stored_cams_and_flow() -> tuple[Tensor, Tensor, Tensor]:
    """CAMs at cells and at the working size as a shard holds them, float16, and flow (2, H, W)."""
    cam = scenes.cams().half()
    high_res = torch.nn.functional.interpolate(cam.float()[None], WORKING, mode="bilinear")[0].half()
    flow = torch.randn(2, *WORKING, generator=torch.Generator().manual_seed(0))
    return cam, high_res, flow
