"""What to import: video files and folders of frames, and which of them a name in a CSV means."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsvis_core.datasets.findings import Findings

VIDEO_SUFFIXES = {".mp4", ".mov", ".avi", ".webm", ".m4v", ".mkv", ".mpg", ".mpeg", ".mts", ".wmv", ".3gp"}
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Source:
    """A video file, or a folder of frames (`images`, in order). name: what it is called in the data set, unique.

    keys: what a CSV may call it: its path as given · that inside the given folder, with or without the file's ending ·
    its own name, with or without.
    """

    path: Path
    name: str
    keys: tuple[frozenset[str], ...]
    images: tuple[Path, ...] | None = None


def find_sources(given: Sequence[Path], findings: Findings) -> list[Source]:
    """The videos under the given files and folders, sorted by path within each; findings name what is none.

    A folder with images in it is a video; any other is searched for video files and such folders, all the way down.
    Hidden files count for nothing.
    """
    found: dict[Path, tuple[Path, tuple[Path, ...] | None, str]] = {}
    for top in given:
        if not top.exists():
            findings.error("no such file or folder", f"--videos {top}")
            continue
        before = len(found)
        for path, images in [(top, None)] if top.is_file() else _walk(top, findings):
            if path.resolve() in found:
                findings.warn("video given twice, taken once", str(path))
                continue
            relative = path.name if path == top else path.relative_to(top).as_posix()
            found[path.resolve()] = (path, images, relative)
        if len(found) == before and top.is_dir():
            wanted = " ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
            findings.error("folder without a video", f"--videos {top}: expected files ending in {wanted}")
    names: set[str] = set()
    stems = Counter(_stem(relative, images) for _, images, relative in found.values())
    sources = []
    for path, images, relative in found.values():
        stem = _stem(relative, images)
        keys = ({path.as_posix()}, {relative, stem}, {path.name, path.name if images else path.stem})
        spelled = tuple(frozenset(map(normal_name, level)) for level in keys)
        sources.append(Source(path, _unused_name(stem if stems[stem] == 1 else relative, names), spelled, images))
    return sources


def _stem(relative: str, images: tuple[Path, ...] | None) -> str:
    """The name without the ending of a video file."""
    return relative if images else Path(relative).with_suffix("").as_posix()


def _walk(folder: Path, findings: Findings) -> Iterator[tuple[Path, tuple[Path, ...] | None]]:
    """Video files and folders of frames (with their images) in and under a folder, sorted."""
    children = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    files = [child for child in children if child.is_file()]
    images = [child for child in files if child.suffix.lower() in IMAGE_SUFFIXES]
    videos = [child for child in files if child.suffix.lower() in VIDEO_SUFFIXES]
    for child in files:
        if child not in images and child not in videos and child.suffix.lower() != ".csv":
            findings.warn("file that is neither a video nor an image, left out", str(child))
    if images and videos:
        findings.error(
            "folder with both images and videos (its images may be the frames of a video, or pictures beside them)",
            f"{folder}: {len(images)} images, {len(videos)} videos; move the images into a folder of their own or away",
        )
        return
    if images:
        yield folder, tuple(sorted(images, key=natural_key))
    for video in videos:
        yield video, None
    for child in children:
        if child.is_dir():
            yield from _walk(child, findings)


def natural_key(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sorts frame2 before frame10."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if part.isdigit() and part.isascii() else (-1, part) for part in parts], path.name


def normal_name(text: str) -> str:
    """One spelling of a name: letters with marks composed, as most systems do and macOS does not; '/' in paths."""
    return unicodedata.normalize("NFC", text.replace("\\", "/")).removeprefix("./").rstrip("/")


def _unused_name(stem: str, taken: set[str]) -> str:
    """A folder name that keeps letters of any alphabet, and is not taken, whatever the case of its letters."""
    plain = re.sub(r"[^\w.-]+", "_", normal_name(stem).replace("/", "-")).strip("._") or "video"
    name, number = plain, 1
    while name.casefold() in taken:
        number += 1
        name = f"{plain}-{number}"
    taken.add(name.casefold())
    return name


def match_name(name: str, sources: Sequence[Source]) -> list[Source]:
    """The sources that a CSV's name means, by the most exact kind of name that fits any of them.

    Several: the name does not tell them apart. None: it is no name of theirs.
    """
    wanted = normal_name(name)
    levels = ([source for source in sources if wanted in source.keys[level]] for level in range(3))
    return next((found for found in levels if found), [])


def nearest_name(name: str, sources: Sequence[Source]) -> str:
    """The name of a video that is most like `name`, "" where none is."""
    known = sorted({key for source in sources for key in source.keys[2]})
    return next(iter(difflib.get_close_matches(normal_name(name), known, n=1, cutoff=0.5)), "")
