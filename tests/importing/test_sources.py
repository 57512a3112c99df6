from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from wsvis_core.datasets.findings import Findings
from wsvis_core.importing.sources import find_sources, match_name, nearest_name


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(sources) -> list[str]:
    return [source.name for source in sources]


def test_files_folders_of_frames_and_folders_of_both(tmp_path):
    touch(tmp_path, "a.MP4", "deep/er/b.webm", "shots/10.jpg", "shots/9.jpg", "deep/c/x.png", ".hidden.mp4", "l.csv")
    findings = Findings()
    found = find_sources([tmp_path], findings)
    assert names(found) == ["a", "deep-c", "deep-er-b", "shots"]
    assert [path.name for path in found[3].images or ()] == ["9.jpg", "10.jpg"]
    assert findings == Findings()


def test_names_that_would_be_equal_are_told_apart(tmp_path):
    touch(tmp_path, "x/clip.mp4", "x/clip.mov", "y/clip.mp4", "x-clip.avi", "X-Clip.webm", "Straße 1.mp4", "…/v.mp4")
    found = find_sources([tmp_path], Findings())
    assert sorted(names(found)) == ["-v", "Straße_1", "X-Clip", "x-clip-2", "x-clip.mov", "x-clip.mp4", "y-clip"]


def test_the_same_file_twice_is_taken_once(tmp_path):
    touch(tmp_path, "a.mp4")
    findings = Findings()
    assert names(find_sources([tmp_path, tmp_path / "a.mp4"], findings)) == ["a"]
    assert findings.warnings["video given twice, taken once"].examples == [str(tmp_path / "a.mp4")]


def test_what_is_no_video_is_named(tmp_path):
    touch(tmp_path, "mixed/a.jpg", "mixed/b.mp4", "empty/notes.txt")
    findings = Findings()
    assert find_sources([tmp_path / "none", tmp_path / "mixed", tmp_path / "empty"], findings) == []
    assert [kind.split(" (")[0] for kind in findings.errors] == [
        "no such file or folder",
        "folder with both images and videos",
        "folder without a video",
    ]
    assert findings.warnings["file that is neither a video nor an image, left out"].count == 1


def test_a_csv_may_use_the_path_the_file_name_or_the_bare_name(tmp_path):
    touch(tmp_path, "x/clip.mp4", "y/clip.mp4", "y/other.mov", "clip.avi", "Tür.mp4")
    found = find_sources([tmp_path], Findings())

    def matches(name: str) -> list[str]:
        return [source.path.relative_to(tmp_path).as_posix() for source in match_name(name, found)]

    assert matches("x/clip") == matches("x\\clip.mp4") == matches(str(tmp_path / "x/clip.mp4")) == ["x/clip.mp4"]
    assert matches("other") == matches("other.mov") == matches("./y/other") == ["y/other.mov"]
    assert matches("clip.mp4") == ["x/clip.mp4", "y/clip.mp4"]
    assert matches("clip") == matches("clip.avi") == ["clip.avi"]  # the one whose whole path it is
    assert matches(unicodedata.normalize("NFD", "Tür")) == ["Tür.mp4"]
    assert matches("nothing") == matches("") == []
    assert nearest_name("othr.mov", found) == "other.mov" and nearest_name("qqqqq", found) == ""


@pytest.mark.parametrize("name", ["frames", "frames/", "./frames"])
def test_a_folder_of_frames_is_called_by_its_name(tmp_path, name, monkeypatch):
    touch(tmp_path, "frames/1.jpg")
    monkeypatch.chdir(tmp_path)
    found = find_sources([Path("frames")], Findings())
    assert match_name(name, found) == found
