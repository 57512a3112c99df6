"""Every way in which an artefact is written, on a disk that is full; skipped where no small disk can be mounted."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import atomic_path, load_tensors, save_tensors, write_json
from wsvis_core.storage.folder import whole_folder
from wsvis_core.storage.hdf5 import new_hdf5
from wsvis_core.storage.shards import ShardReader, verify_shard, write_shard
from wsvis_core.storage.space import explain_full_disk, full_disk_reason, size_text
from wsvis_core.tracking.results import write_results
from wsvis_core.training.checkpoints import resume, save_checkpoint
from wsvis_core.training.records import Records
from wsvis_core.training.run import Run
from wsvis_core.visualization.mp4 import write_mp4

KB = 1024
VIDEOS = [SimpleNamespace(id=number) for number in (1, 2, 3)]


def noise(size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 255, size, dtype=np.uint8)


def long_results() -> list[dict]:
    mask = {"size": [48, 80], "counts": "0" * 5000}
    return [{"video_id": n, "category_id": 1, "score": 0.5, "segmentations": [mask]} for n in range(1, 100)]


WRITERS: dict[str, Callable[[Path], object]] = {
    "json": lambda path: write_json(path, list(range(100_000))),
    "results": lambda path: write_results(path, long_results()),
    "tensors": lambda path: save_tensors(path, {"w": torch.rand(100_000)}),
    "mp4": lambda path: write_mp4(path, (noise(180_000).reshape(200, 300, 3) for _ in range(30)), Fraction(6)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_is_there_whole_or_not_at_all(small_disk, kind):
    path = small_disk.folder / f"file.{kind}"
    with small_disk.filled(leave=64 * KB):
        with pytest.raises(WsvisError) as caught:
            WRITERS[kind](path)
        assert [left.name for left in small_disk.folder.iterdir()] == ["ballast"]
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be written: the disk is full (")
    assert message.endswith(
        f" of 1.05 MB free on {small_disk.folder}); make room there, then give the same command again: "
        f"what is finished is kept"
    )
    WRITERS[kind](path)
    assert [left.name for left in small_disk.folder.iterdir()] == [path.name]


def test_the_file_of_an_earlier_run_stays(small_disk):
    path = small_disk.folder / "metrics.json"
    write_json(path, {"mAP": 0.5})
    with small_disk.filled(), pytest.raises(WsvisError):
        write_json(path, list(range(10_000)))
    assert json.loads(path.read_text()) == {"mAP": 0.5}


def columns_of(video) -> dict[str, np.ndarray]:
    """100 KB that no filter makes smaller."""
    return {"flow": np.random.default_rng(video.id).integers(0, 255, (10, 10_000), dtype=np.uint8)}


def write(path: Path, videos=VIDEOS, make_columns=columns_of) -> None:
    write_shard(path, kind="flow", videos=videos, make_columns=make_columns, settings={"a": 1})


@pytest.mark.parametrize("leave", [0, 4 * KB, 60 * KB, 150 * KB, 250 * KB, 330 * KB, 500 * KB])
def test_a_shard_goes_on_where_the_disk_was_full(small_disk, leave):
    """In the parts of its videos or in joining them; finished videos are not made again."""
    path = small_disk.folder / "shard-000.h5"
    made: list[int] = []

    def make_columns(video):
        made.append(video.id)
        return columns_of(video)

    with small_disk.filled(leave=leave):
        with pytest.raises(WsvisError, match=r"cannot be written: the disk is full \(.* free on "):
            write(path, make_columns=make_columns)
        assert not path.exists() and not list(small_disk.folder.rglob("*.tmp"))
        finished = sorted(int(part.stem) for part in small_disk.folder.rglob("[0-9].h5"))
    assert finished == [1, 2, 3][: min((leave + KB) // (101 * KB), 3)]
    made.clear()
    write(path, make_columns=make_columns)
    assert made == [video.id for video in VIDEOS if video.id not in finished]
    verify_shard(path)
    reader = ShardReader([path], kind="flow")
    for video in VIDEOS:
        assert np.array_equal(reader.columns(video.id)["flow"][()], columns_of(video)["flow"])


def test_an_attempt_without_any_room_keeps_the_finished_videos(small_disk):
    """Nothing that says what the parts are may be lost by writing it again."""
    path = small_disk.folder / "shard-000.h5"
    with small_disk.filled(leave=250 * KB), pytest.raises(WsvisError):
        write(path)
    with small_disk.filled(), pytest.raises(WsvisError):
        write(path)
    assert sorted(part.name for part in small_disk.folder.rglob("[0-9].h5")) == ["1.h5", "2.h5"]


@pytest.mark.parametrize("leave", range(0, 480 * KB, 40 * KB))
def test_hdf5_survives_a_full_disk_at_any_point(small_disk, leave):
    """The process goes on, and can use HDF5 afterwards; on its own, HDF5 ends it."""
    path = small_disk.folder / "a.h5"

    def fill() -> None:
        with new_hdf5(path) as file:
            for n in range(50):
                column = noise(10_000).reshape(-1, 10)
                file.create_dataset(f"group/{n}", data=column, chunks=(100, 10), compression="lzf")
            file.attrs["text"] = "x" * 5000

    with small_disk.filled(leave=leave), pytest.raises(OSError) as caught:
        fill()
    assert caught.value.errno == errno.ENOSPC
    fill()


def test_an_error_of_the_writer_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(KeyError), new_hdf5(tmp_path / "a.h5"):
        raise KeyError("column")


def test_training_goes_on_from_the_checkpoint_before(small_disk):
    run = Run("toy", small_disk.folder / "training", {}, seed=0, device=torch.device("cpu"), keep_checkpoints=2)
    model = nn.Linear(100, 300)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Records(run, 0).add({"iteration": 0, "loss": 1.0})
    save_checkpoint(run, 1, model, optimizer)
    with small_disk.filled(leave=64 * KB), pytest.raises(WsvisError, match="checkpoint.pt cannot be written: the disk"):
        save_checkpoint(run, 2, model, optimizer)
    assert [path.name for path in run.folder.glob("*.pt*")] == ["checkpoint.pt"]
    assert load_tensors(run.checkpoint_path)["iteration"] == 1 and resume(run, model, optimizer) == 1


def test_a_record_cut_short_is_not_read_again(small_disk):
    run = Run("toy", small_disk.folder / "training", {}, seed=0, device=torch.device("cpu"))
    records = Records(run, 0)
    for n in range(3):
        records.add({"iteration": n, "loss": 1.0})
    # A page that is begun is filled up whatever the disk says.
    with small_disk.filled(), pytest.raises(WsvisError, match="records.jsonl cannot be written: the disk is full"):
        for n in range(3, 1000):
            records.add({"iteration": n, "loss": 1.0})
    Records(run, 20).add({"iteration": 20, "loss": 2.0})
    lines = [json.loads(line) for line in run.records_path.read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [*range(21)]


def test_an_export_says_so_and_leaves_no_folder(small_disk):
    with small_disk.filled(leave=8 * KB):
        with pytest.raises(WsvisError, match="cannot be written: the disk is full"):
            with whole_folder(small_disk.folder / "export") as folder:
                (folder / "a.xml").write_bytes(bytes(100 * KB))
        assert [left.name for left in small_disk.folder.iterdir()] == ["ballast"]


JOB = """
import logging, sys
from pathlib import Path
from wsvis_core.job import job
from wsvis_core.storage.files import write_json
with job(sys.argv[1], threads=1):
    for n in range(200):
        logging.getLogger("wsvis_core.x").info("x" * 100)
    {body}
"""
BODIES = {
    "explained": (
        "write_json(Path(sys.argv[2]), list(range(100_000)))",
        "{target} cannot be written: the disk is full",
    ),
    "unnamed": ("open('/dev/full', 'wb', 0).write(b'1')", "`df -h` shows which"),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_job_whose_log_is_on_the_full_disk_too_ends_with_a_message(small_disk, body):
    """The screen gets the message and nothing else; the code is that of a user's mistake."""
    code, expected = BODIES[body]
    log, target = small_disk.folder / "job.log", small_disk.folder / "out.json"
    command = [sys.executable, "-c", JOB.format(body=code), str(log), str(target)]
    environment = {**os.environ, "WSVIS_DEVICE": "cpu"}
    log.touch()
    with small_disk.filled():
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2 and done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.endswith("x" * 100)]
    assert len(lines) == 1 and expected.format(target=target) in lines[0]
    assert "the disk is full" in lines[0] and lines[0].endswith("what is finished is kept")
    assert not target.exists()


def test_the_reason_is_found_behind_other_errors():
    assert full_disk_reason(OSError(errno.ENOSPC, "x")) == "the disk is full"
    assert full_disk_reason(OSError(errno.EDQUOT, "x")) == "your quota on this disk is used up"
    assert full_disk_reason(OSError(errno.EIO, "x")) is None and full_disk_reason(KeyError("x")) is None
    try:
        try:
            raise OSError(errno.ENOSPC, "x")
        except OSError as error:
            raise RuntimeError("unexpected pos 704 vs 598") from error
    except RuntimeError as error:
        assert full_disk_reason(error) == "the disk is full"


def test_a_quota_is_a_reason_of_its_own(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(WsvisError, match=f"{path} cannot be written: your quota on this disk is used up"):
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_as_they_are(tmp_path):
    for error in (OSError(errno.EIO, "x"), WsvisError("x"), KeyError("x")):
        with pytest.raises(type(error)) as caught, explain_full_disk(tmp_path / "a"):
            raise error
        assert caught.value is error


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (2**20, "1.05 MB"), (5e13, "50 TB")]
)
def test_sizes_have_three_digits(number, text):
    assert size_text(number) == text
