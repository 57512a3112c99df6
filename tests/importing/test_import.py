"""`wsvis import` as a whole: what is written, what is said, and that an import that fails leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from wsvis_core.check import check_project
from wsvis_core.cli import main
from wsvis_core.config import Config
from wsvis_core.datasets import VideoDataset
from wsvis_core.datasets.prepare import prepare_from_settings
from wsvis_core.importing.block import BlockFacts, block_text, has_bfloat16

VARIANTS = {
    "flows": {"dis": {}},
    "labellers": {"flowirn": {}, "irn": {}},
    "segmenters": {"maskconsist": {}, "labels": {"kind": "labels"}},
    "trackers": {"unovost": {}},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two films and a folder of frames in `films`, and a config.yaml."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**VARIANTS, "datasets": {"demo": {"root": "data/demo"}}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def labels(text: str) -> str:
    Path("labels.csv").write_text(text, encoding="utf-8")
    return "labels.csv"


def run(*options: str, videos: str = "films", output: str = "data/mine") -> int:
    return main(["import", "--videos", videos, "--labels", "labels.csv", "--output", output, *options])


def load(output: str = "data/mine") -> VideoDataset:
    """The imported set, prepared by the settings of its own block."""
    block = next(Path(output).glob("*.yaml"))
    merged = yaml.safe_load(Path("config.yaml").read_text())
    merged["datasets"] |= yaml.safe_load(block.read_text())["datasets"]
    prepare_from_settings(block.stem, Config(merged).datasets[block.stem], Path("prepared"))
    return VideoDataset.load(Path("prepared"))


def test_films_become_a_data_set(place, film, frames_folder, number, capsys):
    film(place / "films/Straße 1.mp4", 30, fps=30)
    film(place / "films/b.avi", 12, fps=12, codec="mpeg4")
    frames_folder(place / "films/shots", ["3.png", "4.png", "6.png"])
    labels("\ufeffvideo;start_frame;end_frame;class\nStraße 1.mp4;5;10;dog\nb;;;cat\nb;0;1;dog\nshots;4;;cat\n")
    assert run() == 0
    dataset = load()
    assert [category.name for category in dataset.categories] == ["cat", "dog"]
    by_name = {video.name: video for video in dataset.videos}
    assert list(by_name) == ["Straße_1", "b", "shots"]
    kept = {name: [frame.native_index for frame in video.frames] for name, video in by_name.items()}
    assert kept == {"Straße_1": [0, 5, 10, 15, 20, 25], "b": [0, 2, 4, 6, 8, 10], "shots": [3, 4, 6]}
    for video in dataset.videos:
        for t, frame in enumerate(video.frames):
            first = 3 if video.name == "shots" else 0
            expected = {3: 0, 4: 1, 6: 2}[frame.native_index] if first else frame.native_index
            assert number(dataset.read_frame(video, t)) == expected
    street = by_name["Straße_1"]
    assert dataset.class_labels(street).tolist() == [[False, t in (1, 2)] for t in range(6)]
    assert dataset.class_labels(by_name["b"])[:2].tolist() == [[True, True], [True, False]]
    assert dataset.class_labels(by_name["shots"]).tolist() == [[False, False], [True, False], [True, False]]
    neighbour, sign = dataset.read_neighbour(street, 1)
    assert (number(neighbour), sign) == (6, 1)
    assert dataset.splits["train"] == dataset.splits["val"] == (1, 2, 3)
    said = capsys.readouterr().out
    assert "1/3 Straße_1: 30 frames at 30 fps, " in said
    assert "wsvis check --configfile data/mine/mine.yaml --dataset mine" in said
    assert "-- results/mine_vis.json results/mine_report.html" in said
    assert check_project([Path("data/mine/mine.yaml")], "mine") == []


def test_the_last_frame_has_the_one_before_as_its_neighbour(place, film, number):
    film(place / "films/a.mp4", 11, fps=30)
    labels("video,class\na,dog\n")
    assert run() == 0
    [video] = (dataset := load()).videos
    assert [frame.native_index for frame in video.frames] == [0, 5, 10]
    neighbours = [dataset.read_neighbour(video, t) for t in range(3)]
    assert [(number(image), sign) for image, sign in neighbours] == [(1, 1), (6, 1), (9, -1)]


def test_without_native_frames_and_smaller(place, film):
    film(place / "films/a.mp4", 10, size=(48, 64))
    labels("video,class\na,dog\n")
    assert run("--no-native-flow", "--max-side", "32", "--fps", "30") == 0
    [video] = (dataset := load()).videos
    assert (video.width, video.height, len(video)) == (32, 24, 10)
    assert not Path("data/mine/train_all_frames").exists()
    assert dataset.read_frame(video, 9).shape == (24, 32, 3)


def test_frames_labelled_one_by_one_are_the_only_ones_kept(place, film):
    film(place / "films/a.mp4", 30)
    labels("video,frame,class\na,2,dog\na,3,dog\na,17,\n")
    assert run() == 0
    [video] = (dataset := load()).videos
    assert [frame.native_index for frame in video.frames] == [2, 17]
    assert dataset.class_labels(video).tolist() == [[True], [False]]


def test_frames_of_a_folder_may_be_called_by_their_file_names(place, frames_folder):
    frames_folder(place / "films/f", ["x.png", "y.png", "z.png"])
    labels("video,frame,class\nf,x.png,dog\nf,z,dog\n")
    assert run(videos="films/f") == 0
    assert [frame.native_index for frame in load().videos[0].frames] == [0, 2]


def test_the_rate_of_a_folder(place, frames_folder):
    frames_folder(place / "films/f", [f"{n:03d}.png" for n in range(20)])
    labels("video,class\nf,dog\n")
    assert run("--folder-fps", "30") == 0
    assert [frame.native_index for frame in load().videos[0].frames][:4] == [0, 5, 10, 15]


def test_frames_far_apart_still_make_pairs(place, film):
    film(place / "films/a.mp4", 60, fps=30)
    labels("video,class\na,dog\n")
    assert run("--fps", "1") == 0
    block = yaml.safe_load(Path("data/mine/mine.yaml").read_text())["datasets"]["mine"]
    assert block["flow"] == {"max_index_gap": 45}


def test_what_is_lost_is_listed(place, film, frames_folder, capsys):
    whole = film(place / "whole.mp4", 40, noise=True).read_bytes()
    (place / "films").mkdir()
    (place / "films/cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    frames_folder(place / "films/f", ["1.png", "2.png", "3.png"])
    (place / "films/f/2.png").write_bytes(b"")
    labels("video,class\ncut,dog\nf,cat\n")
    assert run() == 0
    record = json.loads(Path("data/mine/import.json").read_text())
    cut, folder = record["videos"]
    assert cut["native_frames"] == 40 and cut["lost"] == len(cut["lost_frames"]) > 5
    assert folder["lost_frames"] == [{"frame": 2, "why": "frame cannot be decoded (2.png)"}]
    assert record["classes"][1] == {"id": 2, "name": "dog", "videos": 1, "frames": cut["annotated_frames"]}
    said = capsys.readouterr().out
    assert "video with frames that could not be used (listed in import.json)" in said
    assert f"{cut['lost'] + 1} frames lost (import.json)" in said
    assert "2 x class with one video" in said


def test_a_class_of_one_video_may_be_another_mistyped(place, film, capsys):
    for name in "abc":
        film(place / f"films/{name}.mp4", 4)
    labels("video,class\na,cow\nb,cow\nc,cwo\n")
    assert run() == 0
    assert "'cwo': c; or is it the class 'cow'?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "found", "prefix"),
    [(".venv/bin/wsvis", None, ".venv/bin/"), ("/opt/bin/wsvis", "/opt/bin/wsvis", ""), ("pytest", None, "")],
)
def test_the_next_commands_start_as_this_one_did(place, film, capsys, monkeypatch, typed, found, prefix):
    """Who has not activated the environment types its folder, and copies the next command from the screen."""
    film(place / "films/a.mp4", 4)
    labels("video,class\na,cow\n")
    monkeypatch.setattr(sys, "argv", [typed])
    monkeypatch.setattr("shutil.which", lambda name: found)
    assert run() == 0
    said = capsys.readouterr().out
    for command in ("wsvis check", "wsvis plan", "snakemake"):
        assert f"\n  {prefix}{command} --configfile data/mine/mine.yaml " in said


def test_everything_wrong_is_said_at_once_and_nothing_is_written(place, film, sound, capsys):
    film(place / "films/a.mp4", 10)
    film(place / "films/b.mp4", 10)
    film(place / "films/x/a.mp4", 10)
    film(place / "films/y/c.mp4", 10)
    film(place / "films/z/c.mp4", 10)
    (place / "films/empty.mp4").touch()
    sound(place / "films/sound.mp4")
    labels(
        "video,start_frame,end_frame,class\na,0,10,dog\nnone.mp4,,,dog\nc.mp4,,,dog\nb,4,2,dog\nempty,,,dog\nsound,,,a\n"
    )
    assert run("--name", "demo") == 2
    said = capsys.readouterr().err
    for words in (
        "name is that of a data set in config.yaml\n      'demo'; give another with --name",
        "range ends before it starts\n      labels.csv:5: 4 to 2",
        "label file names a video that is not there\n      labels.csv:3: 'none.mp4' (1 rows)",
        "label file names several videos at once\n      labels.csv:4: 'c.mp4' may be films/y/c.mp4, films/z/c.mp4",
        "frame that is not there\n      labels.csv:2: frame 10 of a, which has 0 to 9",
        "empty file\n      films/empty.mp4: 0 bytes",
        "file without pictures\n      films/sound.mp4: sound only (aac)",
        "4 x video without a row in the label file",
        "nothing was imported: 11 problems found",
        "Repair what is named, then run the same command again.",
    ):
        assert words in said
    assert not (place / "data").exists()


def test_videos_without_a_row_may_be_left_out(place, film, capsys):
    film(place / "films/a.mp4", 10)
    film(place / "films/b.mp4", 10)
    labels("video,class\na,dog\n")
    assert run() == 2
    assert "--skip-unlabelled leaves such videos out" in capsys.readouterr().err
    assert run("--skip-unlabelled") == 0
    said = capsys.readouterr().out
    assert "video without a row in the label file, left out\n      films/b.mp4" in said
    assert "class in every frame (nothing to tell it from; add videos without it)\n      'dog'" in said


def test_a_label_file_that_is_no_table_does_not_hide_the_rest(place, capsys):
    (place / "films").mkdir()
    (place / "films/a.mp4").touch()
    labels("")
    assert run() == 2
    said = capsys.readouterr().err
    assert "labels.csv is empty" in said and "films/a.mp4: 0 bytes" in said
    assert "without a row" not in said


@pytest.mark.parametrize("text", ["video,class\na,\n", "video,start_frame,end_frame,class\na,1,2,dog\n"])
def test_nothing_to_learn_from(place, film, capsys, text):
    film(place / "films/a.mp4", 10)
    labels(text)
    assert run() == 2  # the range lies between the frames kept
    assert "has a class" in capsys.readouterr().err
    assert list(Path("data").iterdir()) == [] if Path("data").exists() else True


def test_an_output_that_is_there_is_left_alone(place, film, capsys):
    film(place / "films/a.mp4", 10)
    labels("video,class\na,dog\n")
    Path("data/mine").mkdir(parents=True)
    Path("data/mine/precious").touch()
    assert run() == 2
    assert "output is there already\n      data/mine; give another name or remove it" in capsys.readouterr().err
    assert [path.name for path in Path("data/mine").iterdir()] == ["precious"]


def test_names_that_are_no_names(place, film, capsys):
    film(place / "films/a.mp4", 10)
    labels("video,class\na,dog\n")
    assert run(output="data/my videos") == 2
    assert "'my videos'; give another with --name" in capsys.readouterr().err
    assert run("--name", "123", output="data/my videos") == 0
    block = yaml.safe_load(Path("data/my videos/123.yaml").read_text())
    assert block["datasets"]["123"]["root"] == "data/my videos"


def test_wrong_options(place, capsys):
    for option, value, words in (
        ("--fps", "0", "'0' is not a number of frames per second from 0.001 to 1000"),
        ("--max-side", "x", "'x' is no whole number from 16 to 32768 (pixels)"),
        ("--jpeg-quality", "101", "'101' is no whole number from 1 to 100 (JPEG quality)"),
    ):
        with pytest.raises(SystemExit):
            run(option, value)
        assert words in capsys.readouterr().err


def test_a_killed_import_leaves_nothing_that_looks_whole(place, film):
    film(place / "films/a.mp4", 200, noise=True)
    labels("video,class\na,dog\n")
    command = [sys.executable, "-m", "wsvis_core.cli", "import", "--videos", *["films/a.mp4"], "--labels", "labels.csv"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([*command, "--output", "data/mine", "--fps", "1000"], env=environment)
    while process.poll() is None and not list(Path(".").glob("data/.mine.*.tmp/train/JPEGImages/a/*.jpg")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("data/mine").exists()


@pytest.mark.parametrize("frames", [1, 58, 1999, 2000, 10**6])
@pytest.mark.parametrize("stride", [0, 5, 30])
def test_every_block_is_a_valid_configuration(frames, stride):
    text = block_text(BlockFacts("mine", 'data/it\'s "mine"', 3, frames, 4, 640, stride))
    raw = {**VARIANTS, **yaml.safe_load(text)}
    config = Config(raw)
    block = config.datasets["mine"]
    assert (block.kind, block.root, block.split.mode) == ("folder", 'data/it\'s "mine"', "all")
    assert config.section("flow", "mine").max_index_gap == (45 if stride == 30 else 10)
    assert config.section("cam", "mine").frozen_stages == (3 if frames < 2000 else 2)
    assert max(map(len, text.splitlines())) <= 125
    few = frames < 2000
    assert config.section("pipeline", "mine").compare_segmenters == (("labels",) if few else ())
    assert config.section("maskconsist", "mine").iterations == (max(300, 2 * frames) if few else 90_000)


def test_bfloat16_is_written_where_the_processor_has_it(tmp_path):
    with_it, without = tmp_path / "with", tmp_path / "without"
    with_it.write_text("flags : sse avx512_bf16 avx512f\n")
    without.write_text("flags : sse avx512f\n")
    assert [has_bfloat16(path) for path in (with_it, without, tmp_path / "none")] == [True, False, False]
