"""What users get wrong most often, how each is provoked, and the words that must then be on the screen.

`python tests/mistakes/table.py` writes docs/mistakes.md from it; test_mistakes.py provokes every one for real.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import torch

from wsvis_core.storage.files import atomic_path
from wsvis_core.storage.instance_shards import open_instances

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
datasets: {mine: {root: set, split: {mode: all}}}
flows: {dis: {}}
labellers: {irn: {f_cam: false}, flowirn: {}}
segmenters: {maskconsist: {}, maskconsist_detectron2: {backend: detectron2}}
trackers: {unovost: {}}
"""


@dataclass(frozen=True)
class Mistake:
    """what: as a user would tell it. provoke: does it with a `Shell`. says: words on the screen, quoted on the page.

    group: heading on the page. snakemake: starts Snakemake, which takes seconds. goes_on: a warning, no error.
    """

    id: str
    group: str
    what: str
    says: tuple[str, ...]
    provoke: Callable[[Any], Any]
    snakemake: bool = False
    goes_on: bool = False


# ---- helpers of the provocations; `shell` is a Shell (conftest.py) in a folder with a good data set -----------------


def films(*names: str, frames: int = 6) -> None:
    """Folders of frames under films/, which an import takes for videos."""
    for name in names:
        folder = Path("films") / name
        folder.mkdir(parents=True)
        for number in range(frames):
            cv2.imwrite(str(folder / f"{number:03d}.jpg"), np.full((48, 64, 3), 40 * number % 255, np.uint8))


def labels(text: str) -> None:
    Path("labels.csv").write_text(text)


def importing(shell: Any, *options: str, output: str = "data/own") -> None:
    shell.wsvis("import", "--videos", "films", "--labels", "labels.csv", "--output", output, *options)


def edited(change: Callable[[dict[str, Any]], Any]) -> None:
    """The data set's annotation file with a change."""
    path = Path("set/train.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def configured(shell: Any, text: str) -> None:
    """`wsvis check` of a file of settings."""
    Path("mine.yaml").write_text(text)
    shell.wsvis("check", "--configfile", "mine.yaml", "--dataset", "mine")


def checked(shell: Any) -> None:
    shell.wsvis("check", "--dataset", "mine")


def folder_kind(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], None]:
    """A data set of one's own videos, with a change."""

    def provoke(shell: Any) -> None:
        def make(content: dict[str, Any]) -> None:
            for video in content["videos"]:
                video["class_labels"] = [[1] for _ in video["file_names"]]
            content["annotations"] = None
            change(content)

        edited(make)
        configured(shell, "datasets: {mine: {kind: folder}}")

    return provoke


def annotation(content: dict[str, Any]) -> dict[str, Any]:
    return content["annotations"][0]


def set_nan(content: dict[str, Any]) -> None:
    shapes = annotation(content)["segmentations"]
    shapes[next(i for i, shape in enumerate(shapes) if shape)] = [[float("nan"), 1.0, 9.0, 1.0, 9.0, 9.0]]


def first_frames() -> list[Path]:
    return sorted(Path("set/train/JPEGImages").glob("*/*.jpg"))


def another_size(shell: Any) -> None:
    path = first_frames()[1]
    cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
    checked(shell)


def evaluated(shell: Any, truth: str, results: str) -> None:
    shell.wsvis("evaluate", "--ground-truth", truth, "--results", results, "--output", "m.json", "--bootstrap", "0")


def others_results(shell: Any) -> None:
    """Tracks of a longer video of another data set."""
    mask = {"size": [4, 6], "counts": "08"}
    truth = {
        "videos": [{"id": 1, "width": 6, "height": 4, "length": 2}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [],
    }
    Path("gt.json").write_text(json.dumps(truth))
    result = {"video_id": 7, "category_id": 1, "score": 0.5, "segmentations": [mask] * 3}
    Path("r.json").write_text(json.dumps([result] * 40))
    evaluated(shell, "gt.json", "r.json")


def cut_results(shell: Any) -> None:
    Path("gt.json").write_text('{"videos": [], "categories": [], "annotations": []}')
    Path("r.json").write_text('[{"video_id": 1, "category')
    evaluated(shell, "gt.json", "r.json")


def corrupt_shard(shell: Any) -> None:
    Path("shard-val-000.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    shell.job(lambda: open_instances([Path("shard-val-000.h5")]))


def empty_shard(shell: Any) -> None:
    h5py.File("shard-val-000.h5", "w").close()
    shell.job(lambda: open_instances([Path("shard-val-000.h5")]))


def full_disk(shell: Any) -> None:
    disk = shell.small_disk()

    def write() -> None:
        with disk.filled(), atomic_path(disk.folder / "weights.pt") as path:
            path.write_bytes(bytes(10000))

    shell.job(write)


def out_of_gpu_memory(shell: Any) -> None:
    def train() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB free")

    shell.job(train)


def out_of_memory(shell: Any) -> None:
    shell.job(lambda: np.zeros((1 << 45,), np.float64))


def no_gpu(shell: Any) -> None:
    shell.environment("WSVIS_DEVICE", "cuda")
    shell.environment("PATH", "")
    shell.job(lambda: None, gpus=1)


def wrong_device(shell: Any) -> None:
    shell.environment("WSVIS_DEVICE", "gpu")
    shell.job(lambda: None, gpus=1)


def no_weights(shell: Any) -> None:
    configured(shell, "datasets: {mine: {cam: {backbone_weights: weights/resnet50.pth}}}")


def killed_import(shell: Any) -> None:
    films("cow")
    labels("video,class\ncow,cow\n")
    Path("data/own").mkdir(parents=True)
    Path("data/own/train.json").write_text("{")
    importing(shell)


def unreadable_video(shell: Any) -> None:
    films("cow")
    Path("films/clip.mp4").write_text("this is no film")
    labels("video,class\ncow,cow\nclip.mp4,cow\n")
    importing(shell)


def read_only(shell: Any) -> None:
    films("cow")
    labels("video,class\ncow,cow\n")
    importing(shell, output=shell.read_only_folder("own"))


def imported(names: tuple[str, ...], csv: str | None) -> Callable[[Any], None]:
    def provoke(shell: Any) -> None:
        films(*names)
        if csv is not None:
            labels(csv)
        importing(shell)

    return provoke


def one_class(shell: Any) -> None:
    def change(content: dict[str, Any]) -> None:
        content["categories"] = content["categories"][:1]

    folder_kind(change)(shell)


def one_frame(shell: Any) -> None:
    films("cow", frames=1)
    films("dog", "cat")
    labels("video,class\ncow,cow\ndog,dog\ncat,cat\n")
    importing(shell)


def interrupted_import(shell: Any) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    shell.monkeypatch.setattr("wsvis_core.importing.write.write_json", interrupt)
    films("cow", "dog")
    labels("video,class\ncow,cow\ndog,dog\n")
    importing(shell)


def two_runs(shell: Any) -> None:
    """What a living run holds: Snakemake's list of files, and the lock of the system."""
    locks = Path(".snakemake/locks")
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/mine/dataset/videos.json\n")
    with shell.held_by_another(".snakemake/wsvis.lock"):
        shell.snakemake("--", "results/mine/dataset/videos.json")


def lost_data(shell: Any) -> None:
    shutil.rmtree("set/train")
    shell.terminal("--", "results/mine/dataset/videos.json")


def killed_job(shell: Any) -> None:
    """As the system kills what takes too much memory."""

    def kill(snakemake: int, written: str) -> bool:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(word.startswith(bytes(Path.cwd())) and word.endswith(b".prepare_dataset.py") for word in words):
                if b"bash" not in words[0]:
                    os.kill(int(folder.name), signal.SIGKILL)
                    return True
        return False

    shell.terminal("--", "results/mine/dataset/videos.json", act=kill)


def another_run(shell: Any) -> None:
    with shell.held_by_another("logs/mine/train_cam.log"):
        shell.job(lambda: None, log="logs/mine/train_cam.log")


def old_python(shell: Any) -> None:
    """No Python but one that says it is 3.9."""
    tools = Path("bin")
    tools.mkdir()
    (tools / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tools / "python3").chmod(0o755)
    shell.command(["/bin/sh", str(ROOT / "tools/make_venv.sh"), "venv"], environment={"PATH": str(tools.absolute())})


IMPORT, SETTING, DATA, RUN, RESULT = (
    "Importing videos",
    "Settings",
    "Data",
    "While it runs",
    "Results",
)
TABLE = [
    # -- importing
    Mistake(
        "import-path",
        IMPORT,
        "The path of the videos is wrong",
        ("no such file or folder", "--videos films"),
        lambda shell: (labels("video,class\na,b\n"), importing(shell)),
    ),
    Mistake(
        "import-no-labels",
        IMPORT,
        "The CSV of labels is not there",
        ("label file labels.csv does not exist; expected a CSV with a first line",),
        imported(("cow",), None),
    ),
    Mistake(
        "import-empty-csv",
        IMPORT,
        "The CSV of labels is empty",
        ("labels.csv is empty: expected a first line",),
        imported(("cow",), ""),
    ),
    Mistake(
        "import-columns",
        IMPORT,
        "The CSV has other columns",
        (
            "labels.csv:1: the first line is 'file,label', expected 'video,class'",
            "'file' is none of the columns",
        ),
        imported(("cow",), "file;label\ncow;cow\n"),
    ),
    Mistake(
        "import-name",
        IMPORT,
        "The CSV names a video that is not there",
        (
            "label file names a video that is not there",
            "labels.csv:2: 'cwo' (1 rows), did you mean 'cow'?",
        ),
        imported(("cow",), "video,class\ncwo,cow\n"),
    ),
    Mistake(
        "import-unlabelled",
        IMPORT,
        "A video has no row in the CSV",
        (
            "video without a row in the label file",
            "--skip-unlabelled leaves such videos out",
            "films/cat",
        ),
        imported(("cow", "cat"), "video,class\ncow,cow\n"),
    ),
    Mistake(
        "import-twice",
        IMPORT,
        "Two videos have the same name",
        (
            "label file names several videos at once",
            "'cow' may be films/a/cow, films/b/cow; write the path",
        ),
        imported(("a/cow", "b/cow"), "video,class\ncow,cow\n"),
    ),
    Mistake(
        "import-unreadable",
        IMPORT,
        "A video cannot be read",
        (
            "file cannot be opened as a video",
            "films/clip.mp4: Invalid data found when processing input",
        ),
        unreadable_video,
    ),
    Mistake(
        "import-range",
        IMPORT,
        "A range of frames lies outside of the video",
        (
            "label file names a frame that is not there",
            "labels.csv:2: frame 90 of cow, which has 0 to 5",
        ),
        imported(("cow",), "video,start_frame,end_frame,class\ncow,90,99,cow\n"),
    ),
    Mistake(
        "import-no-class",
        IMPORT,
        "No row has a class",
        (
            "no row of the label file has a class",
            "name what each video shows",
        ),
        imported(("cow",), "video,class\ncow,\n"),
    ),
    Mistake(
        "import-again",
        IMPORT,
        "An earlier import was interrupted, or is there already",
        ("output is there already", "give another name or remove it"),
        killed_import,
    ),
    Mistake(
        "import-read-only",
        IMPORT,
        "The output folder cannot be written",
        (
            "/sys/",
            "You may not write there (`ls -ld /sys` shows who may); give a folder of your own",
        ),
        read_only,
    ),
    Mistake(
        "import-interrupted",
        IMPORT,
        "An import is stopped with Ctrl-C",
        ("stopped by Ctrl-C",),
        interrupted_import,
    ),
    Mistake(
        "import-one-class",
        IMPORT,
        "There is one class, and every video shows it",
        ("class in every frame (nothing to tell it from; add videos without it)",),
        imported(("cow", "calf"), "video,class\ncow,cow\ncalf,cow\n"),
        goes_on=True,
    ),
    Mistake(
        "import-one-frame",
        IMPORT,
        "A video has one frame",
        ("video with one annotated frame (nothing moves in it)",),
        one_frame,
        goes_on=True,
    ),
    # -- settings
    Mistake(
        "key",
        SETTING,
        "A setting is misspelt",
        ("unknown key 'epoch'; did you mean 'epochs'?",),
        lambda shell: configured(shell, "cam: {epoch: 3}"),
    ),
    Mistake(
        "type",
        SETTING,
        "A setting has a value of the wrong type",
        ("epochs = 'many': Input should be a valid number",),
        lambda shell: configured(shell, "cam: {epochs: many}"),
    ),
    Mistake(
        "range",
        SETTING,
        "A learning rate is negative",
        ("lr = -0.1: Input should be greater than 0",),
        lambda shell: configured(shell, "maskconsist: {lr: -0.1}"),
    ),
    Mistake(
        "labeller",
        SETTING,
        "The pipeline asks for a labeller that is not there",
        ("asks for 'flowirm', which is not one of the labellers",),
        lambda shell: configured(shell, "pipeline: {labeller: flowirm}"),
    ),
    Mistake(
        "segmenter",
        SETTING,
        "The pipeline asks for a segmenter that is not there",
        ("asks for 'mask2former', which is not one of the segmenters",),
        lambda shell: configured(shell, "pipeline: {segmenter: mask2former}"),
    ),
    Mistake(
        "tracker",
        SETTING,
        "The pipeline asks for a tracker that is not there",
        ("asks for 'sort', which is not one of the trackers",),
        lambda shell: configured(shell, "pipeline: {tracker: sort}"),
    ),
    Mistake(
        "yaml",
        SETTING,
        "The file of settings is no YAML",
        ("mine.yaml is not valid YAML",),
        lambda shell: configured(shell, "cam: [1,\n  b: }"),
    ),
    Mistake(
        "config-file",
        SETTING,
        "The file of settings is not there",
        ("config file none.yaml does not exist",),
        lambda shell: shell.wsvis("check", "--configfile", "none.yaml"),
    ),
    Mistake(
        "folder",
        SETTING,
        "The command is given in another folder",
        ("config file config.yaml does not exist; start in the folder of the Snakefile",),
        lambda shell: (Path("config.yaml").unlink(), shell.wsvis("check")),
    ),
    Mistake(
        "dataset",
        SETTING,
        "The data set's name is misspelt",
        ("data set 'mien' is not in config.yaml", "did you mean 'mine'?"),
        lambda shell: shell.wsvis("check", "--dataset", "mien"),
    ),
    Mistake(
        "weights",
        SETTING,
        "A file of weights is not there",
        (
            "cam.backbone_weights names weights/resnet50.pth, which does not exist",
            "or 'torchvision' to let torchvision download one",
        ),
        no_weights,
    ),
    Mistake(
        "detectron2",
        SETTING,
        "detectron2 is asked for and not installed",
        (
            "has the backend 'detectron2', which is not installed",
            "docs/detectron2.md tells how",
        ),
        lambda shell: configured(shell, "pipeline: {segmenter: maskconsist_detectron2}"),
    ),
    Mistake(
        "snakemake-setting",
        SETTING,
        "A setting is misspelt, and Snakemake is started",
        ("unknown key 'epoch'; did you mean 'epochs'?",),
        lambda shell: (
            Path("config.yaml").write_text("cam: {epoch: 3}"),
            shell.snakemake("--", "results/demo_vis.json"),
        ),
        snakemake=True,
    ),
    Mistake(
        "target",
        SETTING,
        "The data set's name is misspelt in the result that Snakemake is asked for",
        (
            "results/mien_vis.json is of a data set 'mien', and the configuration has",
            "did you mean results/mine_vis.json?",
        ),
        lambda shell: shell.snakemake("--", "results/mien_vis.json"),
        snakemake=True,
    ),
    Mistake(
        "snakemake-folder",
        SETTING,
        "Snakemake is started in another folder",
        ("No Snakefile found",),
        lambda shell: shell.snakemake("results/mine_vis.json", snakefile=False),
        snakemake=True,
    ),
    Mistake(
        "cores",
        SETTING,
        "`--cores` is forgotten",
        ("cores have to be specified for local execution (use --cores N",),
        lambda shell: shell.snakemake("--", "results/mine_vis.json", cores=False),
        snakemake=True,
    ),
    # -- data
    Mistake(
        "no-annotations",
        DATA,
        "The annotation file is not there",
        (
            "set/train.json not found.",
            "or set datasets.mine.root to where it is",
        ),
        lambda shell: (Path("set/train.json").unlink(), checked(shell)),
    ),
    Mistake(
        "no-frames",
        DATA,
        "The folder of frames is not there",
        (
            "set/train/JPEGImages not found.",
            "or set datasets.mine.root to where it is",
        ),
        lambda shell: (shutil.rmtree("set/train"), checked(shell)),
    ),
    Mistake(
        "cut-annotations",
        DATA,
        "The annotation file was cut",
        (
            "set/train.json is not valid JSON",
            "download or export it again",
        ),
        lambda shell: (Path("set/train.json").write_text('{"videos": [{'), checked(shell)),
    ),
    Mistake(
        "ids-from-0",
        DATA,
        "Ids of annotations begin at 0",
        (
            "annotation id is not a whole number from 1 up",
            "entry 0 of the list: id 0",
        ),
        lambda shell: (edited(lambda c: annotation(c).update(id=0)), checked(shell)),
    ),
    Mistake(
        "nan-polygon",
        DATA,
        "A polygon holds NaN",
        (
            "segmentation cannot be read",
            "annotation 1, frame 0: a polygon holds NaN or infinity; remove the polygon, or write its coordinates",
        ),
        lambda shell: (edited(set_nan), checked(shell)),
    ),
    Mistake(
        "sizes",
        DATA,
        "Frames of a video differ in size",
        (
            "frame size differs from the annotation file",
            "40x30, expected 80x48 (width x height)",
        ),
        another_size,
    ),
    Mistake(
        "missing-frame",
        DATA,
        "A frame is missing",
        (
            "frame file is missing",
            "Repair or remove what is named (annotation file: set/train.json), then run the same command again",
        ),
        lambda shell: (first_frames()[2].unlink(), checked(shell)),
    ),
    Mistake(
        "broken-frame",
        DATA,
        "A frame cannot be decoded",
        (
            "frame cannot be decoded",
            "not a readable image (10 bytes)",
        ),
        lambda shell: (first_frames()[2].write_bytes(b"no picture"), checked(shell)),
    ),
    Mistake(
        "classes",
        DATA,
        "A label is none of the classes",
        (
            "class_labels name something that is no category id",
            "video 1, frame 0: ['dog']",
        ),
        folder_kind(lambda c: c["videos"][0]["class_labels"].__setitem__(0, ["dog"])),
    ),
    Mistake(
        "unknown-category",
        DATA,
        "Annotations are of a class that is not listed",
        (
            "annotation of an unknown category",
            "annotation 1: category_id 99",
        ),
        lambda shell: (edited(lambda c: annotation(c).update(category_id=99)), checked(shell)),
    ),
    Mistake(
        "no-labels",
        DATA,
        "No frame has a label",
        ("no frame has a class label, there is nothing to learn from",),
        folder_kind(lambda c: [video.update(class_labels=[[] for _ in video["file_names"]]) for video in c["videos"]]),
    ),
    Mistake(
        "one-class",
        DATA,
        "There is one class, and every frame shows it",
        ("every training frame shows every class", "add videos, or name frames, without them"),
        one_class,
    ),
    # -- while it runs
    Mistake(
        "lost-data",
        RUN,
        "A job fails: its data are gone",
        (
            "prepare_dataset of mine failed",
            "log: logs/mine/prepare_dataset.log",
            "data set 'mine': set/train/JPEGImages not found.",
            "The same command goes on from here",
        ),
        lost_data,
        snakemake=True,
    ),
    Mistake(
        "killed",
        RUN,
        "The system kills a job that takes too much memory",
        ("killed (SIGKILL): most often the machine had no memory left; run fewer jobs at a time (--cores)",),
        killed_job,
        snakemake=True,
    ),
    Mistake(
        "two-runs",
        RUN,
        "The same run is started twice",
        ("Directory cannot be locked",),
        two_runs,
        snakemake=True,
    ),
    Mistake(
        "no-gpu",
        RUN,
        "A GPU is asked for and there is none",
        (
            "WSVIS_DEVICE is 'cuda', and PyTorch sees no GPU here",
            "Unset WSVIS_DEVICE to compute on the CPU",
        ),
        no_gpu,
    ),
    Mistake(
        "device",
        RUN,
        "WSVIS_DEVICE is misspelt",
        ("WSVIS_DEVICE is 'gpu', must be 'cpu', 'cuda' or unset",),
        wrong_device,
    ),
    Mistake(
        "gpu-memory",
        RUN,
        "The GPU has too little memory",
        ("the GPU has no memory left", "maskconsist.pairs_per_step"),
        out_of_gpu_memory,
    ),
    Mistake(
        "memory",
        RUN,
        "The machine has too little memory",
        ("the machine has no memory left", "fewer jobs at a time"),
        out_of_memory,
    ),
    Mistake(
        "disk",
        RUN,
        "The disk is full",
        ("the disk is full", "then give the same command again: what is finished is kept"),
        full_disk,
    ),
    Mistake(
        "shard",
        RUN,
        "A shard was cut or damaged",
        (
            "shard-val-000.h5 is not a readable HDF5 file",
            "delete it and run again",
        ),
        corrupt_shard,
    ),
    Mistake(
        "other-shard",
        RUN,
        "A shard is another file",
        ("shard-val-000.h5 is incomplete; delete it and run snakemake again",),
        empty_shard,
    ),
    Mistake(
        "still-working",
        RUN,
        "A job of an earlier run still works",
        (
            "a process of an earlier run still works on this job",
            "wait until it ends, or end it, then give the same command again",
        ),
        another_run,
    ),
    Mistake(
        "python",
        RUN,
        "Python is too old",
        (
            "needs Python 3.11, 3.12 or 3.13 with the venv module, and found none",
            "make install PYTHON=/path/to/python3.12",
        ),
        old_python,
    ),
    # -- results
    Mistake(
        "others-results",
        RESULT,
        "The results are of another data set",
        (
            "result 1 (video 7, category 1): there is no such video",
            "Are the results of another data set, or of its other split?",
        ),
        others_results,
    ),
    Mistake(
        "cut-results",
        RESULT,
        "The result file was cut",
        (
            "r.json is not valid JSON",
            "delete it and run your tracker (rule track_instances) again",
        ),
        cut_results,
    ),
    Mistake(
        "no-truth",
        RESULT,
        "The ground truth is not there",
        ("gt.json does not exist",),
        lambda shell: evaluated(shell, "gt.json", "r.json"),
    ),
    Mistake(
        "status",
        RESULT,
        "`wsvis status` of a data set that is not there",
        ("there is no data set 'mien'", "did you mean 'mine'?"),
        lambda shell: shell.wsvis("status", "results/mien"),
    ),
]
PAGE = ROOT / "docs/mistakes.md"
HEAD = """# What goes wrong most often

Each of these is made on purpose by a test (`tests/mistakes`), which looks that the answer fits a screen of 24 lines,
has no traceback, and holds the words below; names and numbers are those of the test. The whole message says where it is
and what to do. [`wsvis check`](commands.md#wsvis-check) finds what is wrong with settings and data before a run.

One mistake is answered by Snakemake alone, and with a traceback that ends in `No such file or directory:
'results/demo_vis.json'`: a result after `--configfile mine.yaml` is taken for one more file of settings. Write `--`
before it.

This page is written by `python tests/mistakes/table.py`; do not edit it by hand.
"""


def page_markdown() -> str:
    """docs/mistakes.md."""
    parts = [HEAD]
    for group in dict.fromkeys(mistake.group for mistake in TABLE):
        rows = [f"| {mistake.what} | {_said(mistake)} |" for mistake in TABLE if mistake.group == group]
        parts += [f"## {group}\n", "| mistake | the answer |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def _said(mistake: Mistake) -> str:
    """Its words as code; those with backticks between double ones."""
    words = [f"`` {part} ``" if "`" in part else f"`{part}`" for part in mistake.says]
    return " … ".join(words).replace("|", "\\|") + (" (a warning)" if mistake.goes_on else "")


if __name__ == "__main__":
    PAGE.write_text(page_markdown(), encoding="utf-8")
