"""mp4 files, decoded again: frames, size, rate, colours; memory that does not depend on the length."""

from __future__ import annotations

import weakref
from fractions import Fraction

import av
import numpy as np
import pytest

from wsvis_core.errors import WsvisError
from wsvis_core.visualization.mp4 import even_sides, write_mp4

SIX = Fraction(6)


def decoded(path):
    """(frames uint8 (T,H,W,3), times in seconds, stream facts)."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        facts = (stream.average_rate, stream.codec_context.name, stream.codec_context.pix_fmt, len(container.streams))
    return np.stack([f.to_ndarray(format="rgb24") for f in frames]), [float(f.time) for f in frames], facts


def plain(colour, height=32, width=48):
    return np.full((height, width, 3), colour, np.uint8)


def test_frames_size_rate_and_colours_come_back(tmp_path):
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128)]
    written = write_mp4(tmp_path / "new" / "v.mp4", (plain(c) for c in colours), SIX)
    frames, times, facts = decoded(written.path)
    assert (written.frames, written.height, written.width) == (4, 32, 48) == frames.shape[:3]
    assert facts == (6, "h264", "yuv420p", 1)
    assert times == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6], abs=1e-3)
    assert np.abs(frames.mean(axis=(1, 2)) - np.array(colours)).max() < 4
    assert sorted(p.name for p in written.path.parent.iterdir()) == ["v.mp4"]


def test_the_index_comes_before_the_pictures(tmp_path):
    data = write_mp4(tmp_path / "v.mp4", [plain((9, 9, 9))], SIX).path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert b"avc1" in data


@pytest.mark.parametrize("rate", [Fraction(1, 2), Fraction(30000, 1001), Fraction(240)])
def test_other_rates_and_one_frame(tmp_path, rate):
    frames, _, facts = decoded(write_mp4(tmp_path / "v.mp4", [plain((90, 10, 10))], rate).path)
    assert len(frames) == 1 and facts[0] == rate


@pytest.mark.parametrize(("height", "width"), [(33, 48), (32, 47), (33, 47), (1, 1)])
def test_odd_sides_get_a_copy_of_the_last_row_or_column(tmp_path, height, width):
    frame = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    even = even_sides(frame)
    assert even.shape == (height + height % 2, width + width % 2, 3)
    assert np.array_equal(even[:height, :width], frame) and np.array_equal(even[-1, -1], frame[-1, -1])
    assert decoded(write_mp4(tmp_path / "v.mp4", [frame], SIX).path)[0].shape[1:] == even.shape


def test_equal_frames_give_equal_bytes(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), dtype=np.uint8)
    first, second = (write_mp4(tmp_path / name, frames, SIX).path.read_bytes() for name in ("a.mp4", "b.mp4"))
    assert first == second


def test_no_more_than_two_frames_are_held_at_a_time(tmp_path):
    alive, most = weakref.WeakSet(), []

    class Frame(np.ndarray):  # hashable by identity, to be counted
        __hash__ = object.__hash__

    def frames():
        for t in range(100):
            frame = plain((t, 0, 0)).view(Frame)
            alive.add(frame)
            most.append(len(alive))
            yield frame

    write_mp4(tmp_path / "v.mp4", frames(), SIX)
    assert len(most) == 100 and max(most) <= 2


def test_no_frame_and_a_failing_frame_leave_no_file(tmp_path):
    with pytest.raises(WsvisError, match=r"v\.mp4 cannot be written: a video needs at least one frame"):
        write_mp4(tmp_path / "v.mp4", [], SIX)

    def broken():
        yield plain((1, 2, 3))
        raise WsvisError("frame 1 is missing")

    (tmp_path / "v.mp4").write_bytes(b"an earlier file")
    with pytest.raises(WsvisError, match="frame 1 is missing"):
        write_mp4(tmp_path / "v.mp4", broken(), SIX)
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]
    assert (tmp_path / "v.mp4").read_bytes() == b"an earlier file"
