"""The work of a job, read from a path: which stage, which shard, which variants; and how much of it there is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wsvis_core.config import Config
from wsvis_core.planning.size import DataSize

# What a stage's cost grows with.
UNITS = {
    "generate_dataset": "frames",
    "prepare_dataset": "frames",
    "extract_flow": "frames",
    "train_cam": "samples",
    "extract_cam": "frames",
    "make_label_maps": "frames",
    "train_flowirn": "samples",
    "make_pseudo_labels": "frames",
    "evaluate_pseudo_labels": "frames",
    "train_maskconsist": "samples",
    "predict_masks": "frames",
    "show_transfers": "samples",
    "evaluate_frames": "frames",
    "evaluate_consistency": "frames",
    "track_instances": "frames",
    "evaluate_video": "frames",
    "estimate_quality": "frames",
    "evaluate_quality": "frames",
    "choose_route": "frames",
    "publish_tracks": "frames",
    "publish_quality": "frames",
    "make_table": "tables",
    "make_report": "pages",
}
_SHARD = re.compile(r"(train|val)-\d{3}")
_ROUND = re.compile(r"([^/]+)/([^/]+)/round-(\d)(?:/|\.|$)")


@dataclass(frozen=True)
class Work:
    """What one job of a stage works on. split: of its shard, None where it works on all videos of its split(s)."""

    stage: str
    dataset: str
    split: str | None = None
    labeller: str | None = None
    segmenter: str | None = None

    @classmethod
    def of_path(cls, stage: str, dataset: str, path: str) -> Work:
        """From a result's path below `results/<dataset>`, or a benchmark's below `benchmarks/<stage>`."""
        shard, rounds = _SHARD.search(path), _ROUND.search(path)
        return cls(stage, dataset, shard and shard[1], rounds and rounds[1], rounds and rounds[2])


def amount(work: Work, config: Config, size: DataSize) -> float:
    """How many units (`UNITS`) the job has: frames it reads, or samples it trains on; for shards, the mean."""
    block = config.datasets[work.dataset]
    if work.stage == "predict_masks" and work.segmenter is not None:
        if config.section("maskconsist", work.dataset, segmenter=work.segmenter).kind == "labels":
            return 0  # a copy of the pseudo-labels
    if work.split is not None:
        return size.frames[work.split] / getattr(block.shards, work.split)
    if work.stage in ("generate_dataset", "prepare_dataset"):
        return sum(size.frames.values())
    if work.stage in ("train_cam", "train_flowirn"):
        section = config.section(work.stage.removeprefix("train_"), work.dataset)
        return section.epochs * size.frames["train"]
    if work.stage == "train_maskconsist":
        section = config.section("maskconsist", work.dataset, segmenter=work.segmenter)
        return section.iterations * section.accumulate * section.pairs_per_step * 2
    if work.stage == "show_transfers":
        return config.section("report", work.dataset).transfer_pairs * 2
    if UNITS[work.stage] in ("tables", "pages"):
        return 1
    return size.frames["train" if work.stage == "evaluate_pseudo_labels" else "val"]


def megapixels(work: Work, config: Config, size: DataSize) -> float:
    """Megapixels of one unit as the stage sees it, which its cost is taken to be proportional to."""
    aspect = min(size.height, size.width) / max(size.height, size.width)
    native = size.height * size.width
    stage1 = config.section("stage1", work.dataset)
    if work.stage == "extract_flow":
        long_side = min(config.section("flow", work.dataset).estimate_long_side, max(size.height, size.width))
        pixels = long_side**2 * aspect
    elif work.stage in ("extract_cam", "make_label_maps", "make_pseudo_labels"):
        scale = stage1.irnet_scale if work.stage == "make_pseudo_labels" else 1.0
        pixels = (stage1.long_side * scale) ** 2 * aspect
    elif work.stage in ("train_cam", "train_flowirn"):
        pixels = config.section(work.stage.removeprefix("train_"), work.dataset).crop ** 2
    elif work.stage in ("train_maskconsist", "predict_masks", "show_transfers"):
        name = "prediction" if work.stage == "predict_masks" else "maskconsist"
        pixels = config.section(name, work.dataset).short_side ** 2 / aspect
    elif UNITS[work.stage] in ("tables", "pages"):
        pixels = 1e6
    else:
        pixels = native
    return pixels / 1e6
