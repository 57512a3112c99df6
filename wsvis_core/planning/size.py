"""How large a data set is, from whatever of it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsvis_core.config import Config, DatasetSettings
from wsvis_core.datasets.synthetic import SyntheticSettings
from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import read_json

SPLITS = ("train", "val")


@dataclass(frozen=True)
class DataSize:
    """Videos and annotated frames per split ("train", "val"), mean height and width in pixels, and where from."""

    videos: Mapping[str, int]
    frames: Mapping[str, int]
    height: int
    width: int
    source: str


def data_size(config: Config, dataset: str, results: Path, stated: DataSize | None = None) -> DataSize:
    """The size of a data set: as prepared, else as stated, else from its annotation file or generator's settings.

    results: the folder `results` of the run. Raises WsvisError that says what to give when none of it is there.
    """
    block = config.datasets[dataset]
    prepared = results / dataset / "dataset"
    if (prepared / "splits.json").exists() and (prepared / "videos.json").exists():
        return _of_prepared(prepared)
    if stated is not None:
        return stated
    if block.kind == "synthetic":
        settings = SyntheticSettings.from_mapping(block.synthetic)
        count = settings.num_videos
        lengths, sizes = [settings.frames_per_video] * count, [(settings.height, settings.width)] * count
        return _split(block, lengths, sizes, settings.num_classes, "the generator's settings")
    annotations = Path(block.root) / block.annotation_file
    if not annotations.exists():
        raise WsvisError(
            f"{annotations} does not exist, so the size of data set '{dataset}' is unknown; put the data there, or "
            f"state the size: --videos 2238 --frames 61845 --frame-size 1280x720"
        )
    content = read_json(annotations, made_by="the data set's authors")
    videos = content["videos"]
    lengths = [len(video["file_names"]) for video in videos]
    sizes = [(video["height"], video["width"]) for video in videos]
    return _split(block, lengths, sizes, len(content["categories"]), str(annotations))


def stated_size(block: DatasetSettings, videos: int, frames: int, height: int, width: int) -> DataSize:
    """A data set of videos of equal length, as a user states it."""
    lengths = [frames // videos + (number < frames % videos) for number in range(videos)]
    return _split(block, lengths, [(height, width)] * videos, None, "as stated")


def _of_prepared(folder: Path) -> DataSize:
    videos = {video["id"]: video for video in read_json(folder / "videos.json", made_by="prepare_dataset")["videos"]}
    splits = read_json(folder / "splits.json", made_by="prepare_dataset")
    members: dict[str, list[dict[str, Any]]] = {name: [videos[i] for i in splits[name]] for name in SPLITS}
    return DataSize(
        {name: len(some) for name, some in members.items()},
        {name: sum(len(video["file_names"]) for video in some) for name, some in members.items()},
        *_mean_size([(video["height"], video["width"]) for video in videos.values()]),
        source=str(folder / "videos.json"),
    )


def _split(
    block: DatasetSettings, lengths: list[int], sizes: list[tuple[int, int]], classes: int | None, source: str
) -> DataSize:
    """Before the split is drawn: as many held-out videos as it aims at, of mean length."""
    count, total = len(lengths), sum(lengths)
    if block.split.mode == "all":
        held_out, training = count, count
    else:
        drawn = block.split.val_per_category * classes if classes else None
        held_out = min(block.split.target_union or drawn or count // 10, count)
        training = count - held_out
    videos = {"train": training, "val": held_out}
    frames = {name: round(total * some / max(count, 1)) for name, some in videos.items()}
    return DataSize(videos, frames, *_mean_size(sizes), source=source)


def _mean_size(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    if not sizes:
        return 1, 1
    return round(sum(h for h, _ in sizes) / len(sizes)), round(sum(w for _, w in sizes) / len(sizes))
