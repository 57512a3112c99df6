from __future__ import annotations

import multiprocessing
import os
import pickle
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from wsvis_core.errors import WsvisError
from wsvis_core.storage import shards
from wsvis_core.storage.shards import FORMAT_VERSION, ShardReader, one_by_one, verify_shard, write_shard

VIDEOS = [SimpleNamespace(id=number) for number in (3, 1, 20)]


def columns_of(video) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(video.id)
    return {
        "flow": rng.normal(size=(video.id, 2, 9, 16)).astype(np.float16),
        "labels": rng.integers(0, 255, (video.id, 20, 30)).astype(np.uint8),
        "boxes": rng.random((video.id * 40, 4)).astype(np.float32),
        "valid": rng.random(video.id) < 0.5,
        "nothing": np.zeros((0, 2, 5), np.float16),
        "one": np.array(video.id),
    }


class Maker:
    """Makes columns and remembers for which videos; breaks at video `breaks_at`."""

    def __init__(self, breaks_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.breaks_at = breaks_at

    def __call__(self, video):
        self.asked.append(video.id)
        if video.id == self.breaks_at:
            raise KeyboardInterrupt
        return columns_of(video)


def write(path, maker=columns_of, videos=VIDEOS, settings=None, kind="flow", **more):
    write_shard(path, kind=kind, videos=videos, make_columns=maker, settings=settings or {"a": 1}, **more)


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "shard-000.h5"
    write(path)
    return path


def assert_whole(path, videos=VIDEOS):
    reader = ShardReader([path], kind="flow")
    for video in videos:
        group, expected = reader.columns(video.id), columns_of(video)
        assert set(group) == set(expected)
        for name, column in expected.items():
            assert group[name].dtype == column.dtype and group[name].shape == column.shape
            assert np.array_equal(group[name][()], column)


def test_round_trip(shard):
    assert_whole(shard)
    verify_shard(shard)
    assert list(shard.parent.iterdir()) == [shard]


def test_attributes_say_what_the_shard_is(tmp_path):
    path = tmp_path / "s.h5"
    write(path, attributes={"unit": "pixels"})
    attributes = ShardReader([path], kind="flow").attributes()
    assert attributes["unit"] == "pixels" and attributes["kind"] == "flow" and attributes["complete"]
    assert attributes["format_version"] == FORMAT_VERSION and len(attributes["digest"]) == 16


def test_frames_are_read_singly_and_small_rows_share_chunks(shard):
    group = ShardReader([shard], kind="flow").columns(20)
    assert group["labels"].chunks[0] * group["labels"][0].nbytes <= 2**15
    assert group["boxes"].chunks == (800, 4)
    assert group["valid"].chunks is None
    large = SimpleNamespace(id=1)
    path = shard.with_name("large.h5")
    write(path, lambda video: {"flow": np.zeros((3, 2, 96, 160), np.float16)}, [large])
    assert ShardReader([path], kind="flow").columns(1)["flow"].chunks == (1, 2, 96, 160)


def test_an_empty_list_of_videos_is_legal(tmp_path):
    path = tmp_path / "s.h5"
    write(path, videos=[])
    reader = ShardReader([path], kind="flow")
    assert 1 not in reader
    with pytest.raises(WsvisError) as caught:
        reader.columns(1)
    assert str(caught.value) == f"video 1 is in none of the 'flow' shards: {path}"


def test_several_shards_are_one(tmp_path):
    paths = [tmp_path / f"{i}.h5" for i in range(3)]
    for path, video in zip(paths, VIDEOS, strict=True):
        write(path, videos=[video])
    reader = ShardReader(paths, kind="flow")
    assert all(video.id in reader and reader.columns(video.id)["one"][()] == video.id for video in VIDEOS)


def test_finished_videos_are_not_made_again_after_a_crash(tmp_path):
    path, broken, again = tmp_path / "s.h5", Maker(breaks_at=20), Maker()
    with pytest.raises(KeyboardInterrupt):
        write(path, broken)
    assert not path.exists() and list(tmp_path.glob("*.h5")) == [] and list(tmp_path.glob("*.tmp")) == []
    write(path, again)
    assert broken.asked == [3, 1, 20] and again.asked == [20]
    assert_whole(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_resumed_shard_equals_an_undisturbed_one(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.h5", Maker(breaks_at=1))
    write(tmp_path / "a.h5")
    write(tmp_path / "b.h5")
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        assert list(a["videos"]) == list(b["videos"])
        for name in a["videos"]:
            assert a["videos"][name].attrs["content_digest"] == b["videos"][name].attrs["content_digest"]


def test_videos_made_with_other_settings_are_made_again(tmp_path):
    path, again = tmp_path / "s.h5", Maker()
    with pytest.raises(KeyboardInterrupt):
        write(path, Maker(breaks_at=20))
    write(path, again, settings={"a": 2})
    assert again.asked == [3, 1, 20]


def test_a_folder_of_unknown_parts_is_not_trusted(tmp_path):
    path, again = tmp_path / "s.h5", Maker()
    with pytest.raises(KeyboardInterrupt):
        write(path, Maker(breaks_at=20))
    (tmp_path / "s.h5.parts" / "digest").unlink()
    write(path, again)
    assert again.asked == [3, 1, 20]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped", "other column"])
def test_a_damaged_part_is_made_again(tmp_path, damage):
    path, again = tmp_path / "s.h5", Maker()
    with pytest.raises(KeyboardInterrupt):
        write(path, Maker(breaks_at=20))
    part = tmp_path / "s.h5.parts" / "3.h5"
    whole = part.read_bytes()
    if damage == "other column":
        with h5py.File(part, "r+") as file:
            file["video"]["valid"][0] = ~file["video"]["valid"][0]
    else:
        flipped = whole.replace(columns_of(VIDEOS[0])["valid"].tobytes(), b"\1\1\0")
        part.write_bytes({"truncated": whole[:-100], "empty": b"", "text": b"text", "flipped": flipped}[damage])
    assert part.read_bytes() != whole
    write(path, again)
    assert again.asked == [3, 20]
    assert_whole(path)


def test_a_part_with_any_damage_is_either_whole_or_made_again(tmp_path):
    """Damage anywhere in the file may only cost time: it neither ends the job nor reaches the shard."""
    path, rng = tmp_path / "s.h5", np.random.default_rng(0)
    with pytest.raises(KeyboardInterrupt):
        write(path, Maker(breaks_at=20))
    part = tmp_path / "s.h5.parts" / "3.h5"
    whole = bytearray(part.read_bytes())
    stored = {item.name: item.read_bytes() for item in part.parent.iterdir()}
    for position in rng.choice(len(whole), 60, replace=False):
        damaged = whole.copy()
        damaged[position] ^= int(rng.integers(1, 256))
        part.parent.mkdir(exist_ok=True)
        for name, content in stored.items():
            (part.parent / name).write_bytes(content)
        part.write_bytes(damaged)
        write(path)
        assert_whole(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused(tmp_path, value):
    def maker(video):
        columns = columns_of(video)
        columns["flow"][0, 0, 0, 0] = value if video.id == 1 else 0
        return columns

    with pytest.raises(WsvisError) as caught:
        write(tmp_path / "s.h5", maker)
    assert str(caught.value) == "flow of video 1: column 'flow' holds NaN or infinity; nothing was written"
    assert not (tmp_path / "s.h5").exists()
    assert [p.name for p in (tmp_path / "s.h5.parts").iterdir() if p.name.startswith("1.")] == []


def test_a_shard_that_does_not_verify_never_gets_its_name(tmp_path, monkeypatch):
    path = tmp_path / "s.h5"

    def lying_digest(group):
        return "0" * 64 if group.file.filename.endswith("s.h5.tmp") else "1" * 64

    monkeypatch.setattr("wsvis_core.storage.shards._content_digest", lying_digest)
    with pytest.raises(WsvisError, match="does not match its digest"):
        write(path)
    assert not path.exists()


def read_error(path, kind="flow") -> str:
    with pytest.raises(WsvisError) as caught:
        ShardReader([path], kind=kind)
    return str(caught.value)


def test_a_missing_shard(tmp_path):
    assert read_error(tmp_path / "s.h5") == f"{tmp_path / 's.h5'} does not exist; run snakemake again to make it"


@pytest.mark.parametrize("keep", [0, 4, 0.5, -1])
def test_a_truncated_shard(shard, keep):
    whole = shard.read_bytes()
    shard.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    message = read_error(shard)
    assert message.startswith(f"{shard} is not a readable HDF5 file (")
    assert message.endswith("); delete it and run again")


def test_a_shard_without_complete(shard):
    with h5py.File(shard, "r+") as file:
        del file.attrs["complete"]
    assert read_error(shard) == f"{shard} is incomplete; delete it and run snakemake again"


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, None])
def test_a_shard_of_another_format(shard, version):
    with h5py.File(shard, "r+") as file:
        del file.attrs["format_version"]
        if version is not None:
            file.attrs["format_version"] = version
    expected = f"{shard} has format version {version}, this wsvis reads {FORMAT_VERSION}; delete it and run again"
    assert read_error(shard) == expected


def test_a_shard_of_another_kind(shard):
    assert read_error(shard, kind="cam") == f"{shard} holds 'flow', expected 'cam'"


def test_a_changed_value_is_found_by_verification(shard):
    with h5py.File(shard, "r+") as file:
        file["videos/3/valid"][0] = ~file["videos/3/valid"][0]
    with pytest.raises(WsvisError) as caught:
        verify_shard(shard)
    assert str(caught.value) == f"{shard}: video 3 does not match its digest; delete the file and run again"


def test_damage_anywhere_is_found_by_verification_or_harmless(shard):
    """Any damage gives a WsvisError, or the values are right in spite of it."""
    rng, whole = np.random.default_rng(1), bytearray(shard.read_bytes())
    found = 0
    for position in rng.choice(len(whole), 300, replace=False):
        damaged = whole.copy()
        damaged[position] ^= int(rng.integers(1, 256))
        shard.write_bytes(damaged)
        try:
            verify_shard(shard)
            reader = ShardReader([shard], kind="flow")
            assert reader.attributes()["kind"] == "flow"
            groups = [reader.columns(video.id) for video in VIDEOS]
        except WsvisError:
            found += 1
            continue
        for group, video in zip(groups, VIDEOS, strict=True):
            assert np.array_equal(group["flow"][()], columns_of(video)["flow"])
    assert found > 200


def _read_one(reader, queue):
    value = int(reader.columns(20)["one"][()])
    # Whoever reads owns the open file: a handle shared with the parent would share its state too.
    queue.put(value if reader._owner == os.getpid() else "the parent's file")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_reader_crosses_a_process(shard, method):
    reader = ShardReader([shard], kind="flow")
    flow = reader.columns(20)["flow"][3]  # The parent has the file open.
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_read_one, args=(reader, queue))
    process.start()
    assert queue.get(timeout=60) == 20
    process.join(60)
    assert process.exitcode == 0 and np.array_equal(reader.columns(20)["flow"][3], flow)


def test_a_pickled_reader_reads(shard):
    reader = ShardReader([shard], kind="flow")
    reader.columns(1)
    again = pickle.loads(pickle.dumps(reader))
    assert again.columns(1)["one"][()] == 1 and 3 in again


def test_a_reader_that_was_closed_opens_its_files_again(shard):
    reader = ShardReader([shard], kind="flow")
    reader.close()
    before = reader.columns(3)["labels"][()]
    group = reader.columns(3)
    reader.close()
    assert not group  # h5py: of a closed file
    assert (reader.columns(3)["labels"][()] == before).all()


def test_files_are_closed_now_and_then_on_a_walk_over_videos(shard, monkeypatch):
    monkeypatch.setattr(shards, "_VIDEOS_BETWEEN_CLOSES", 2)
    readers = [ShardReader([shard], kind="flow") for _ in range(2)]
    seen, groups = [], []
    for video in one_by_one(VIDEOS, *readers):
        groups.append([bool(group) for group in seen])
        seen.append(readers[1].columns(video.id))
    assert groups == [[], [True], [False, False]]
    assert list(one_by_one([])) == []
