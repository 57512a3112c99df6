from __future__ import annotations

import cv2
import numpy as np
import pytest

from wsvis_core.datasets.frame_files import FrameFileError, check_frame, header_size, read_rgb, resolve_inside


@pytest.fixture
def picture() -> np.ndarray:
    return np.dstack([np.full((20, 30), 200), np.full((20, 30), 100), np.full((20, 30), 10)]).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_rgb_order_and_size(tmp_path, picture, name):
    cv2.imwrite(str(tmp_path / name), picture[:, :, ::-1])
    assert np.abs(read_rgb(tmp_path / name).astype(int) - picture).max() <= 3
    assert header_size(tmp_path / name) == (30, 20)


def test_a_grey_jpeg_becomes_rgb(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "g.jpg"), picture[:, :, 0])
    assert read_rgb(tmp_path / "g.jpg").shape == (20, 30, 3)
    assert header_size(tmp_path / "g.jpg") == (30, 20)


def test_progressive_jpeg_and_fill_bytes(tmp_path, picture):
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    raw = data.tobytes()
    (tmp_path / "p.jpg").write_bytes(raw[:2] + b"\xff\xff" + raw[2:])
    assert header_size(tmp_path / "p.jpg") == (30, 20)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\xff\xd8",
        b"\xff\xd8\xff\xda\0\x04\0\0",
        b"\xff\xd8\xff\xe0\0\0",
        b"\xff\xd8\xff\xc0\0\x08\x08\0",
    ],
)
def test_a_broken_header_is_refused(tmp_path, data):
    (tmp_path / "b.jpg").write_bytes(data)
    with pytest.raises(FrameFileError, match="no JPEG or PNG header"):
        header_size(tmp_path / "b.jpg")
    with pytest.raises(FrameFileError):
        read_rgb(tmp_path / "b.jpg")


def test_a_missing_file_or_a_folder_is_reported(tmp_path):
    for read in (read_rgb, header_size):
        with pytest.raises(FrameFileError) as error:
            read(tmp_path / "none.jpg")
        assert error.value.kind == "frame file is missing"
        with pytest.raises(FrameFileError) as error:
            read(tmp_path)
        assert error.value.kind == "frame file cannot be read" and "Is a directory" in str(error.value)


@pytest.mark.parametrize(("mode", "found"), [("none", False), ("header", False), ("decode", True)])
def test_only_decoding_finds_a_cut_off_jpeg(tmp_path, picture, mode, found):
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    _, data = cv2.imencode(".jpg", noise)
    (tmp_path / "c.jpg").write_bytes(data.tobytes()[:-200])
    assert (check_frame(tmp_path / "c.jpg", 30, 20, mode) is not None) == found


@pytest.mark.parametrize("mode", ["header", "decode"])
def test_a_wrong_size_names_both_sizes(tmp_path, picture, mode):
    cv2.imwrite(str(tmp_path / "a.jpg"), picture)
    error = check_frame(tmp_path / "a.jpg", 20, 30, mode)
    assert error.kind == "frame size differs from the annotation file"
    assert str(error) == f"{tmp_path}/a.jpg: 30x20, expected 20x30 (width x height)"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "it is an absolute path"),
        ("C:/x.jpg", "it is an absolute path"),
        ("v/../../x.jpg", "it holds '..'"),
        ("v\\x.jpg", "it is empty or holds a NUL or a backslash"),
        ("v\0.jpg", "it is empty or holds a NUL or a backslash"),
        ("", "it is empty or holds a NUL or a backslash"),
    ],
)
def test_unsafe_names_are_refused(tmp_path, name, reason):
    with pytest.raises(FrameFileError) as error:
        resolve_inside(tmp_path, name)
    assert str(error.value) == f"{name!r}: {reason}"


def test_a_link_out_of_the_folder_is_refused_but_a_linked_folder_is_fine(tmp_path):
    (tmp_path / "real" / "v").mkdir(parents=True)
    (tmp_path / "real" / "v" / "0.jpg").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"y")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "v" / "1.jpg").symlink_to(tmp_path / "secret")
    assert resolve_inside(tmp_path / "linked", "v/0.jpg") == (tmp_path / "real/v/0.jpg").resolve()
    with pytest.raises(FrameFileError, match="a symbolic link leads to .*secret, outside of"):
        resolve_inside(tmp_path / "linked", "v/1.jpg")
