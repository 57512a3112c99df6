"""Videos as every later stage sees them: lists of frame files, class labels and splits; pixels are read on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wsvis_core.datasets.class_labels import labels_from_json
from wsvis_core.datasets.frame_files import FrameFileError, read_rgb, resolve_inside
from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import read_json

FORMAT_VERSION = 1
MADE_BY = "the rule prepare_dataset"


@dataclass(frozen=True)
class Category:
    """A class of the data set; ``id`` is the one of the annotation file (1 and up)."""

    id: int
    name: str


@dataclass(frozen=True)
class Frame:
    """One annotated frame. File names are relative to the data set's root; None: there is no such native frame."""

    file_name: str
    native_index: int
    next_file_name: str | None = None
    previous_file_name: str | None = None


@dataclass(frozen=True)
class Video:
    """A video's annotated frames in time order; their native indices increase, the stride may vary."""

    id: int
    name: str
    width: int
    height: int
    frames: tuple[Frame, ...]

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class VideoDataset:
    """A prepared data set: categories sorted by id (class index = position), videos sorted by id.

    Holds no pixels and no open file, so it may be handed to worker processes.
    """

    root: Path
    categories: tuple[Category, ...]
    videos: tuple[Video, ...]
    folders: tuple[str, ...]  # folders under root that frame files may lie in
    labels: dict[int, np.ndarray]  # video id -> bool (T,C)
    splits: dict[str, tuple[int, ...]]  # "train", "val" -> video ids
    split_id: str = ""
    _by_id: dict[int, Video] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {video.id: video for video in self.videos})

    @classmethod
    def load(cls, folder: Path) -> VideoDataset:
        """The data set that ``prepare_dataset`` wrote into ``folder``."""
        folder = Path(folder)
        index = _read(folder / "videos.json")
        splits = _read(folder / "splits.json")
        categories = tuple(Category(entry["id"], entry["name"]) for entry in index["categories"])
        videos = tuple(_video_from_json(entry) for entry in index["videos"])
        labels = labels_from_json(_read(folder / "class_labels.json"), [category.id for category in categories])
        dataset = cls(
            root=Path(index["root"]),
            categories=categories,
            videos=videos,
            folders=tuple(index["folders"]),
            labels=labels,
            splits={name: tuple(splits[name]) for name in ("train", "val")},
            split_id=splits["split_id"],
        )
        dataset._check_agreement(folder)
        return dataset

    def _check_agreement(self, folder: Path) -> None:
        known = set(self._by_id)
        lengths_agree = all(len(self.labels.get(video.id, ())) == len(video) for video in self.videos)
        if set(self.labels) != known or not lengths_agree or not known.issuperset(set().union(*self.splits.values())):
            raise WsvisError(
                f"videos.json, class_labels.json and splits.json in {folder} do not belong together;"
                f" delete the folder and run {MADE_BY} again"
            )

    @property
    def num_classes(self) -> int:
        return len(self.categories)

    def class_index(self, category_id: int) -> int:
        """Position 0..C-1 of a category id."""
        for index, category in enumerate(self.categories):
            if category.id == category_id:
                return index
        known = ", ".join(str(category.id) for category in self.categories)
        raise WsvisError(f"category id {category_id} is not in the data set; its ids are {known}")

    def video(self, video_id: int) -> Video:
        """The video with an id."""
        if video_id not in self._by_id:
            raise WsvisError(f"video id {video_id} is not among the {len(self.videos)} videos of the data set")
        return self._by_id[video_id]

    def split(self, name: str) -> tuple[Video, ...]:
        """The videos of split ``train`` or ``val``, sorted by id."""
        if name not in self.splits:
            raise WsvisError(f"split {name!r} does not exist; expected one of {', '.join(sorted(self.splits))}")
        return tuple(self._by_id[video_id] for video_id in sorted(self.splits[name]))

    def _frame_path(self, file_name: str) -> Path:
        """The real path of a frame file; refused when it leads out of the data set's frame folders."""
        for folder in self.folders:
            if file_name.startswith(folder + "/"):
                return resolve_inside(self.root / folder, file_name[len(folder) + 1 :])
        raise FrameFileError(
            "file name leads outside of the data set", f"{file_name!r} lies in none of {', '.join(self.folders)}"
        )

    def read_frame(self, video: Video, index: int) -> np.ndarray:
        """Annotated frame ``index`` (0..T-1), uint8 (H,W,3) RGB."""
        return self._read_image(video, video.frames[index].file_name)

    def read_neighbour(self, video: Video, index: int) -> tuple[np.ndarray, int] | None:
        """(native frame t+1, +1) of annotated frame ``index``, else (native frame t-1, -1), else None.

        uint8 (H,W,3) RGB. The sign says which way the neighbour lies in time.
        """
        frame = video.frames[index]
        if frame.next_file_name is not None:
            return self._read_image(video, frame.next_file_name), 1
        if frame.previous_file_name is not None:
            return self._read_image(video, frame.previous_file_name), -1
        return None

    def class_labels(self, video: Video) -> np.ndarray:
        """Frame-level labels bool (T,C): class c occurs in annotated frame t."""
        return self.labels[video.id]

    def given_labels(self, video: Video) -> np.ndarray | None:
        """The same labels bool (T,C) where results must keep to them: in a training video. Else None.

        With split mode "all" every video is one. The labels of a held-out video are nothing that a result may know.
        """
        return self.class_labels(video) if video.id in self.splits["train"] else None

    def _read_image(self, video: Video, file_name: str) -> np.ndarray:
        try:
            image = read_rgb(self._frame_path(file_name))
            if image.shape != (video.height, video.width, 3):
                raise FrameFileError(
                    "frame size differs",
                    f"{file_name} is {image.shape[1]}x{image.shape[0]}, expected {video.width}x{video.height}",
                )
        except FrameFileError as error:
            raise WsvisError(
                f"video {video.name} (id {video.id}): {error.kind}: {error}. Repair the file under {self.root},"
                f" then run {MADE_BY} again to check the whole set"
            ) from None
        return image


def _read(path: Path) -> Any:
    value = read_json(path, made_by=MADE_BY)
    version = value.get("version") if isinstance(value, dict) else None
    if version != FORMAT_VERSION:
        raise WsvisError(
            f"{path} has format version {version}, this program reads version {FORMAT_VERSION};"
            f" delete it and run {MADE_BY} again"
        )
    return value


def _video_from_json(entry: dict[str, Any]) -> Video:
    columns = (entry[key] for key in ("file_names", "native_indices", "next_file_names", "previous_file_names"))
    frames = tuple(Frame(*values) for values in zip(*columns, strict=True))
    return Video(entry["id"], entry["name"], entry["width"], entry["height"], frames)


def videos_to_json(
    root: Path, folders: tuple[str, ...], categories: tuple[Category, ...], videos: tuple[Video, ...]
) -> dict[str, Any]:
    """The content of videos.json: one entry per video, its frames as columns."""
    return {
        "version": FORMAT_VERSION,
        "root": str(root),
        "folders": list(folders),
        "categories": [{"id": category.id, "name": category.name} for category in categories],
        "videos": [
            {
                "id": video.id,
                "name": video.name,
                "width": video.width,
                "height": video.height,
                "file_names": [frame.file_name for frame in video.frames],
                "native_indices": [frame.native_index for frame in video.frames],
                "next_file_names": [frame.next_file_name for frame in video.frames],
                "previous_file_names": [frame.previous_file_name for frame in video.frames],
            }
            for video in videos
        ],
    }
