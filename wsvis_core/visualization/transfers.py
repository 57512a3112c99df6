"""Frame pairs with the labels that MaskConsist moves from one frame to the other: what the report draws, as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsvis_core.storage.files import read_json, write_json
from wsvis_core.storage.instance_shards import EncodedInstances


@dataclass(frozen=True)
class PairTransfer:
    """What one training pair of frames teaches, in the direction source → target.

    All instances are on frames of the training size. Predictions are those that take part
    (maskconsist.min_candidate_score), best first. targets: what the target frame trains on; transferred: for each of
    them, is it none of the frame's own stage-1 labels?
    """

    video_id: int
    source: int
    target: int
    source_labels: EncodedInstances
    source_predictions: EncodedInstances
    target_labels: EncodedInstances
    target_predictions: EncodedInstances
    targets: EncodedInstances
    transferred: tuple[bool, ...]


@dataclass(frozen=True)
class Transfers:
    """Chosen pairs of a trained segmenter.

    transfer: False for a plain Mask R-CNN · looked_at: pairs that were tried · with_transfer: those of them with a
    transferred label among the targets.
    """

    transfer: bool
    looked_at: int
    with_transfer: int
    pairs: tuple[PairTransfer, ...]


INSTANCES = ("source_labels", "source_predictions", "target_labels", "target_predictions", "targets")


def write_transfers(transfers: Transfers, output: Path) -> None:
    """Write them as JSON; masks are compressed RLE."""
    pairs = [
        {"video_id": pair.video_id, "source": pair.source, "target": pair.target}
        | {name: _to_json(getattr(pair, name)) for name in INSTANCES}
        | {"transferred": list(pair.transferred)}
        for pair in transfers.pairs
    ]
    counts = {"looked_at": transfers.looked_at, "with_transfer": transfers.with_transfer}
    write_json(output, {"transfer": transfers.transfer, **counts, "pairs": pairs}, indent=1)


def read_transfers(path: Path) -> Transfers:
    """What `write_transfers` wrote."""
    found = read_json(path, made_by="rule show_transfers")
    return Transfers(
        found["transfer"], found["looked_at"], found["with_transfer"], tuple(_pair(row) for row in found["pairs"])
    )


def _pair(row: Mapping[str, Any]) -> PairTransfer:
    instances = {name: _from_json(row[name]) for name in INSTANCES}
    return PairTransfer(
        row["video_id"], row["source"], row["target"], **instances, transferred=tuple(row["transferred"])
    )


def _to_json(instances: EncodedInstances) -> dict[str, Any]:
    return {
        "size": list(instances.size),
        "classes": instances.classes.tolist(),
        "scores": [round(score, 4) for score in instances.scores.tolist()],
        "boxes_xyxy": np.round(instances.boxes_xyxy.astype(np.float64), 2).tolist(),
        "masks": [rle["counts"] for rle in instances.rles],
    }


def _from_json(row: Mapping[str, Any]) -> EncodedInstances:
    size = (row["size"][0], row["size"][1])
    return EncodedInstances(
        size,
        tuple({"size": list(size), "counts": counts} for counts in row["masks"]),
        np.array(row["classes"], np.int64),
        np.array(row["scores"], np.float32),
        _boxes(row["boxes_xyxy"]),
    )


def _boxes(rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)
