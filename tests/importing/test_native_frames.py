from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsvis_core.datasets.findings import Findings
from wsvis_core.importing.native_frames import Losses, NativeFrame, UnusableVideoError, native_frames, probe, upright
from wsvis_core.importing.sources import find_sources


def read(path: Path) -> tuple[list[NativeFrame], Losses]:
    [source] = find_sources([path], Findings())
    losses = Losses()
    return list(native_frames(source, probe(source), losses)), losses


@pytest.mark.parametrize(
    ("name", "codec"), [("v.mp4", "libx264"), ("v.mov", "libx264"), ("v.avi", "mpeg4"), ("v.webm", "libvpx-vp9")]
)
def test_every_frame_in_order_with_its_number_and_time(film, number, tmp_path, name, codec):
    frames, losses = read(film(tmp_path / name, 8, codec=codec, fps=25))
    assert [frame.index for frame in frames] == [number(frame.image()) for frame in frames] == list(range(8))
    assert [float(frame.time) for frame in frames] == pytest.approx([n / 25 for n in range(8)], abs=0.001)
    assert losses.entries == []


def test_variable_rate_has_the_times_of_the_file(film, tmp_path):
    frames, _ = read(film(tmp_path / "v.mp4", 5, milliseconds=[0, 100, 105, 400, 1000]))
    assert [float(frame.time) for frame in frames] == pytest.approx([0, 0.1, 0.105, 0.4, 1.0])


@pytest.mark.parametrize(("name", "codec"), [("v.mp4", "libx264"), ("v.webm", "libvpx-vp9")])
def test_the_rate_is_that_of_the_time_stamps(film, tmp_path, name, codec):
    """A webm states the rate of its encoder (30), whatever the frames do."""
    path = film(tmp_path / name, 5, codec=codec, milliseconds=[0, 100, 105, 400, 1000])
    [source] = find_sources([path], Findings())
    assert probe(source).fps == 4


def test_one_frame_has_the_rate_that_the_file_states(film, tmp_path):
    [source] = find_sources([film(tmp_path / "v.mp4", 1, fps=25)], Findings())
    assert probe(source).fps == 25


@pytest.mark.parametrize("rotation", [None, 0, 90, 180, -90])
def test_rotation_is_applied(film, tmp_path, rotation):
    frames, _ = read(film(tmp_path / "v.mp4", 2, rotation=rotation, size=(48, 64)))
    picture = frames[0].image()
    turned = np.rot90(np.arange(4).reshape(2, 2), (rotation or 0) // 90)  # 0: the red corner
    row, column = np.argwhere(turned == 0)[0]
    assert picture.shape == ((64, 48, 3) if rotation in (90, -90) else (48, 64, 3))
    red = picture[3 if row == 0 else -4, 3 if column == 0 else -4].astype(int)
    assert red[0] > red[1] + 100


def test_every_display_matrix_moves_pixels_as_it_says():
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for first, second, crossed in product((1, -1), (1, -1), (False, True)):
        a, b, c, d = (0, first, second, 0) if crossed else (first, 0, 0, second)
        places = {(a * x + c * y, b * x + d * y): picture[y, x] for y in range(2) for x in range(3)}
        left, top = min(x for x, _ in places), min(y for _, y in places)
        shown = upright(picture, (a, b, c, d))
        assert all((shown[y - top, x - left] == pixel).all() for (x, y), pixel in places.items())
    assert upright(picture, None) is picture


def test_pixels_that_are_not_square_are_made_so(film, tmp_path):
    frames, _ = read(film(tmp_path / "v.mp4", 2, size=(48, 64), aspect=Fraction(4, 3)))
    assert frames[0].image().shape == (48, 85, 3)


def test_a_cut_file_gives_what_decodes_and_lists_what_is_lost(film, number, tmp_path):
    whole = film(tmp_path / "v.mp4", 40, noise=True).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    frames, losses = read(tmp_path / "cut.mp4")
    assert 10 < len(frames) < 39
    assert [number(frame.image()) for frame in frames] == [frame.index for frame in frames]
    assert [entry["frame"] for entry in losses.entries] == list(range(len(frames), 40))
    assert losses.entries[-1]["why"] == "missing at the end of the file"
    assert "missing at the end of the file" in losses.summary()


def test_damage_in_the_middle_does_not_shift_the_numbers_of_later_frames(film, number, tmp_path):
    path = film(tmp_path / "v.webm", 40, codec="libvpx-vp9", noise=True)
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    data[half : half + 800] = bytes(800)
    path.write_bytes(data)
    frames, losses = read(path)
    numbers = [frame.index for frame in frames]
    assert numbers == sorted(numbers) and frames
    before = [frame for frame in frames if frame.index < 15]
    assert [number(frame.image()) for frame in before] == list(range(15))
    assert {entry["frame"] for entry in losses.entries}.isdisjoint(numbers)


def test_files_that_are_no_video(film, sound, tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello")
    whole = film(tmp_path / "v.mov", 10).read_bytes()  # its index is at the end
    (tmp_path / "unfinished.mov").write_bytes(whole[: len(whole) // 2])
    sound(tmp_path / "sound.mp4")
    kinds = {}
    for name in ("empty.mp4", "text.mp4", "unfinished.mov", "sound.mp4"):
        with pytest.raises(UnusableVideoError) as error:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        kinds[name] = error.value.kind
    assert kinds == {
        "empty.mp4": "empty file",
        "text.mp4": "file cannot be opened as a video",
        "unfinished.mov": "file cannot be opened as a video",
        "sound.mp4": "file without pictures",
    }


def test_a_list_of_other_files_is_not_followed(film, tmp_path):
    film(tmp_path / "secret.mp4", 2)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile http://127.0.0.1:9/secret.mp4\n")
    with pytest.raises(UnusableVideoError):
        read(tmp_path / "list.mp4")


def test_a_folder_of_frames_is_numbered_by_its_file_names(frames_folder, number, tmp_path):
    folder = frames_folder(tmp_path / "f", ["frame_9.png", "frame_10.png", "frame_12.png"])
    frames, losses = read(folder)
    assert [(frame.index, number(frame.image())) for frame in frames] == [(9, 0), (10, 1), (12, 2)]
    (folder / "frame_10.png").write_bytes(b"no picture")
    frames, losses = read(folder)
    assert [frame.index for frame in frames] == [9, 12]
    assert losses.entries == [{"frame": 10, "why": "frame cannot be decoded (frame_10.png)"}]


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["a.png", "b.png"], "file names do not end in increasing numbers"),
        (["a1.png", "b1.png"], "file names do not end in increasing numbers"),
        (["1000.png", "2000.png"], "numbers in file names are 1000 or more apart"),
    ],
)
def test_other_folders_are_counted_from_0_and_say_so(frames_folder, tmp_path, names, note):
    folder = frames_folder(tmp_path / "f", names)
    assert [frame.index for frame in read(folder)[0]] == [0, 1]
    [source] = find_sources([folder], Findings())
    assert probe(source).notes[0].startswith(note)


def test_the_orientation_of_a_photograph_is_applied(tmp_path):
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, :20] = 255
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    turn = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # 6: turn right by 90 degrees
    (tmp_path / "f").mkdir()
    (tmp_path / "f/1.jpg").write_bytes(data[:2] + b"\xff\xe1" + (len(turn) + 2).to_bytes(2, "big") + turn + data[2:])
    shown = read(tmp_path / "f")[0][0].image()
    assert shown.shape == (40, 20, 3) and shown[5].mean() > 200 and shown[-5].mean() < 50
