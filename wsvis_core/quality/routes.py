"""Which tracks are published, those of a detector or those of the labels it learnt from: what is known without truth.

Letters: K routes. Paper silent: it has one route, the detector, and thousands of videos to train it on. With a dozen
videos the detector may end worse than its labels, and without ground truth nobody sees it (docs/routes.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsvis_core.datasets.video import VideoDataset
from wsvis_core.errors import WsvisError
from wsvis_core.quality.files import read_quality
from wsvis_core.storage.files import read_json, write_json
from wsvis_core.storage.instance_shards import EncodedInstances, InstanceReader, open_instances
from wsvis_core.tracking.overlap import rle_ious
from wsvis_core.tracking.results import Result, read_results

FORMAT = 1
MADE_BY = "rule choose_route"
PARTS = ("labels", "stability", "agreement", "cover")


@dataclass(frozen=True)
class RouteFiles:
    """What a route ends in: its tracks (YouTube-VIS result file) and their quality.json."""

    tracks: Path
    quality: Path


@dataclass(frozen=True)
class Evidence:
    """What speaks for the best track of one class that the labels of a video name; each 0..1.

    labels: IoU in time of its frames and the labelled ones · stability: IoU of its masks, carried along the flow, with
    those of the next frame; 1 where no pair of frames can be compared · agreement: best IoU of its masks with
    pseudo-labels of the class, mean over the frames that have any; 0 where none has · cover: mean share of the frame.
    """

    video: str
    category: str
    labels: float = 0.0
    stability: float = 0.0
    agreement: float = 0.0
    cover: float = 0.0

    @property
    def worth(self) -> float:
        """labels · stability · agreement · (1 - cover): 0 for a class without a track, small for a whole frame."""
        return self.labels * self.stability * self.agreement * (1 - self.cover)


def choose_route(dataset: VideoDataset, routes: Mapping[str, RouteFiles], labels: Sequence[Path], output: Path) -> None:
    """Write which of K routes is published, and why. The first one wins a tie.

    routes: by the name of their segmenter · labels: shards of the pseudo-labels of the same videos.
    """
    source = open_instances(labels)
    found = {name: list(route_evidence(dataset, files, source)) for name, files in routes.items()}
    worths = {name: mean_worth(evidence) for name, evidence in found.items()}
    published = max(worths, key=lambda name: worths[name])
    content = {
        "format": FORMAT,
        "published": published,
        "number": list(routes).index(published),
        "worth": worths,
        "reason": reason(published, found),
        "evidence": {name: [_row(item) for item in evidence] for name, evidence in found.items()},
    }
    write_json(output, content, indent=1)


def mean_worth(evidence: Sequence[Evidence]) -> float:
    """Mean over the classes that the videos' labels name; 0 without any."""
    return float(np.mean([item.worth for item in evidence])) if evidence else 0.0


def reason(published: str, found: Mapping[str, Sequence[Evidence]]) -> str:
    """One sentence with the numbers that decided."""
    means = {
        name: ", ".join(f"{part} {_mean(evidence, part):.2f}" for part in PARTS) for name, evidence in found.items()
    }
    others = "; ".join(f"{name}: {mean_worth(found[name]):.3f} ({means[name]})" for name in found if name != published)
    return (
        f"tracks of {published} are published: worth {mean_worth(found[published]):.3f} "
        f"({means[published]}), against {others}"
    )


def _mean(evidence: Sequence[Evidence], part: str) -> float:
    return float(np.mean([getattr(item, part) for item in evidence])) if evidence else 0.0


def _row(evidence: Evidence) -> dict[str, Any]:
    return {**asdict(evidence), "worth": evidence.worth}


def route_evidence(dataset: VideoDataset, files: RouteFiles, labels: InstanceReader) -> Iterator[Evidence]:
    """The evidence of every class that the labels of a video name, video after video."""
    quality = {(row["video_id"], row["track"]): row for row in read_quality(files.quality)["tracks"]}
    entries: dict[int, list[Result]] = {}
    for entry in read_results(files.tracks):
        entries.setdefault(entry["video_id"], []).append(entry)
    for video in dataset.split("val"):
        frames = labels.video(video.id)
        numbered = list(enumerate(entries.get(video.id, []), 1))
        for category in np.flatnonzero(dataset.class_labels(video).any(axis=0)):
            wanted = dataset.categories[category]
            own = [(quality[video.id, n], entry) for n, entry in numbered if entry["category_id"] == wanted.id]
            candidates = [_evidence(video.name, wanted.name, int(category), row, entry, frames) for row, entry in own]
            yield max(candidates, key=lambda item: item.worth, default=Evidence(video.name, wanted.name))


def _evidence(
    video: str, name: str, category: int, row: Mapping[str, Any], entry: Result, frames: Sequence[EncodedInstances]
) -> Evidence:
    stability = 1.0 if row["stability"] is None else row["stability"]
    return Evidence(
        video, name, row["labels"], stability, label_agreement(entry["segmentations"], category, frames), row["cover"]
    )


def label_agreement(masks: Sequence[Any], category: int, frames: Sequence[EncodedInstances]) -> float:
    """Best IoU of a track's masks with labels of its class, mean over the frames that have both; 0 where none has.

    masks: T RLEs or None · frames: the labels of these T frames.
    """
    best = []
    for mask, frame in zip(masks, frames, strict=True):
        rles = [rle for rle, c in zip(frame.rles, frame.classes, strict=True) if c == category]
        if mask is not None and rles:
            best.append(float(rle_ious([mask], rles).max()))
    return float(np.mean(best)) if best else 0.0


def read_choice(path: Path) -> dict[str, Any]:
    """What `choose_route` wrote: format, published, number, worth, reason, evidence."""
    value = read_json(path, made_by=MADE_BY)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise WsvisError(f"{path} is not of format {FORMAT}; delete it and run {MADE_BY} again")
    return value


def chosen_route(choice: Sequence[str]) -> int:
    """Position of the published route among all; 0 where there is nothing to choose (choice: no or one route.json)."""
    return int(read_choice(Path(choice[0]))["number"]) if choice else 0
