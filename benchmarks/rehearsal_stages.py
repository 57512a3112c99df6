"""One stage of the rehearsal in a process of its own: python -m benchmarks.rehearsal_stages STAGE FOLDER prints JSON.

Every stage works on all videos: the prepared set has them in both splits.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.rehearsal_set import things_of
from wsvis_core.config import EvaluationSettings, FlowSettings, TrackingSettings
from wsvis_core.datasets.prepare import prepare_dataset
from wsvis_core.datasets.sharding import shard_names, shard_videos
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.evaluation.infer import score_consistency, score_frames, score_pseudo_labels, score_tracks
from wsvis_core.flow.infer import extract_flow
from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, to_columns
from wsvis_core.storage.shards import write_shard
from wsvis_core.tracking.infer import track_instances

SHARDS = {"val": 64}
APPEARANCE = 256


def prepare(folder: Path) -> None:
    """Check every frame and write the lists."""
    prepare_dataset(folder / "set", folder / "dataset", name="rehearsal", split_mode="all")


def draw_split(folder: Path) -> None:
    """The same with the split of the paper: 10 videos of every category held out, 390 in all at full size."""
    target = round(390 * len(VideoDataset.load(folder / "dataset").videos) / 2883)
    prepare_dataset(folder / "set", folder / "split", name="rehearsal", target_union=target, check_images="none")


def flow(folder: Path) -> None:
    """Flow of all videos."""
    dataset = VideoDataset.load(folder / "dataset")
    for name in shard_names("val", SHARDS["val"]):
        videos = shard_videos(dataset, name, SHARDS)
        extract_flow(dataset, videos, folder / "flow" / f"{name}.h5", FlowSettings(), digest_of={})


def predict(folder: Path) -> None:
    """Not a stage: predictions made of the annotation, through the writer that the real ones go through."""
    dataset = VideoDataset.load(folder / "dataset")
    for name in shard_names("val", SHARDS["val"]):
        videos = shard_videos(dataset, name, SHARDS)
        output = folder / "predictions" / f"{name}.h5"
        write_shard(output, kind=KIND, videos=videos, make_columns=_jittered, settings={})


def _jittered(video: Video) -> dict[str, np.ndarray]:
    """Every object two or three times, moved by up to two pixels, with a score and a noisy vector of its own."""
    generator, things = np.random.default_rng(video.id), things_of(video.id)
    frames = []
    for t in range(len(video)):
        seen = [n for n, thing in enumerate(things) if thing.masks[t].any() for _ in range(generator.integers(2, 4))]
        shifts = generator.integers(-2, 3, (len(seen), 2)).tolist()
        moved = [np.roll(things[n].masks[t], shift, axis=(0, 1)) for n, shift in zip(seen, shifts, strict=True)]
        masks = torch.from_numpy(np.stack(moved)) if moved else torch.zeros((0, video.height, video.width), dtype=bool)
        classes = torch.tensor([things[n].category_id - 1 for n in seen], dtype=torch.int64)
        scores = torch.from_numpy(generator.uniform(0.3, 1, len(seen)).astype(np.float32))
        found = InstanceSet.from_masks(masks, classes, scores)
        vectors = np.array([np.random.default_rng([video.id, n]).normal(size=APPEARANCE) for n in seen], np.float32)
        noisy = vectors.reshape(-1, APPEARANCE) + generator.normal(scale=0.1, size=(len(seen), APPEARANCE))
        with_vectors = InstanceSet(
            found.masks, found.boxes_xyxy, found.classes, found.scores, torch.from_numpy(noisy.astype(np.float32))
        )
        frames.append(EncodedInstances.encode(with_vectors))
    return to_columns(frames)


def _stored(folder: Path, kind: str) -> list[Path]:
    return [folder / kind / f"{name}.h5" for name in shard_names("val", SHARDS["val"])]


def track(folder: Path) -> None:
    dataset = VideoDataset.load(folder / "dataset")
    predictions, flows = _stored(folder, "predictions"), _stored(folder, "flow")
    track_instances(dataset, predictions, flows, TrackingSettings(), folder / "tracks.json")


def evaluate_video(folder: Path) -> None:
    truth = folder / "dataset" / "ground_truth_val.json"
    score_tracks(folder / "tracks.json", truth, EvaluationSettings(), folder / "metrics.json")


def evaluate_frames(folder: Path) -> None:
    dataset = VideoDataset.load(folder / "dataset")
    truth = folder / "dataset" / "ground_truth_val.json"
    output = folder / "frame_metrics.json"
    score_frames(dataset, _stored(folder, "predictions"), truth, EvaluationSettings(), output)


def evaluate_consistency(folder: Path) -> None:
    dataset = VideoDataset.load(folder / "dataset")
    predictions, flows = _stored(folder, "predictions"), _stored(folder, "flow")
    score_consistency(dataset, predictions, flows, EvaluationSettings(), folder / "consistency_metrics.json")


def evaluate_pseudo_labels(folder: Path) -> None:
    dataset = VideoDataset.load(folder / "dataset")
    truth = folder / "dataset" / "ground_truth_train.json"
    output = folder / "pseudo_label_metrics.json"
    score_pseudo_labels(dataset, _stored(folder, "predictions"), truth, EvaluationSettings(), output)


STAGES: dict[str, Callable[[Path], None]] = {
    "prepare_dataset": prepare,
    "splits": draw_split,
    "extract_flow": flow,
    "predictions": predict,
    "track_instances": track,
    "evaluate_video": evaluate_video,
    "evaluate_frames": evaluate_frames,
    "evaluate_consistency": evaluate_consistency,
    "evaluate_pseudo_labels": evaluate_pseudo_labels,
}


def main(name: str, folder: Path) -> dict[str, float]:
    """Seconds, CPU seconds and peak MB of one stage; the peak of the process before it, with everything imported."""
    torch.set_num_threads(1)
    imported = _peak()
    began, cpu = time.monotonic(), time.process_time()
    STAGES[name](folder)
    seconds = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    return {**seconds, "imported_mb": imported, "peak_mb": _peak()}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
