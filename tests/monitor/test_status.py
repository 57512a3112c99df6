"""`wsvis status` on folders in every state a run can leave them in."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from wsvis_core.cli import main
from wsvis_core.monitor.record import KEPT, Record, process_began, read_runs
from wsvis_core.monitor.status import place_of
from wsvis_core.notes import Note, note_path

HERE = {"host": socket.gethostname(), "pid": os.getpid()}
DONE = [("done", 10, job) for job in range(1, 6)]


@pytest.fixture
def status(tmp_path, monkeypatch, capsys):
    """Runs `wsvis status`; gives its exit code and its lines."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, list[str]]:
        code = main(["status", *arguments])
        printed = capsys.readouterr()
        return code, (printed.out + printed.err).splitlines()

    return run


def results(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_an_empty_folder(status, tmp_path) -> None:
    code, lines = status()
    assert code == 6 and lines == [f"no run is recorded in {tmp_path}; start in the folder where Snakemake works"]
    code, lines = status("results/demo")
    assert code == 2 and lines == [f"wsvis status: there is no data set 'demo' in {tmp_path}: it has none"]


def test_a_data_set_that_never_ran(status, tmp_path) -> None:
    (tmp_path / "config.yaml").write_text("datasets: {demo: {}, bench: {}}")
    code, lines = status("results/demo")
    assert code == 6
    assert lines == [
        "demo: no run of it is recorded here",
        "start one: snakemake --cores all -- results/demo_vis.json results/demo_report.html",
    ]
    code, lines = status("demmo")
    assert code == 2 and lines[0].endswith("it has bench, demo; did you mean 'demo'?")


def test_results_of_before_runs_were_recorded(status, tmp_path) -> None:
    results(tmp_path, "results/demo_vis.json", "results/demo/dataset/videos.json")
    code, lines = status("results/demo")
    assert code == 0 and lines[1].startswith("results/demo_vis.json is there; it was made elsewhere")


def test_a_run_that_goes_on(status, write_record, tmp_path) -> None:
    began = time.time() - 100
    write_record(("start", 1, 1), ("start", 1, 3), ("done", 21, 1), time=began, **HERE)
    note = Note(began=began + 1, time=began + 91, host="h", pid=1, done=30, total=60, unit="step")
    log = tmp_path / "logs/demo/train_cam.log"
    log.parent.mkdir(parents=True)
    note_path(log).write_text(json.dumps(asdict(note)))
    code, lines = status("results/demo_vis.json")
    assert code == 3
    assert re.match(r"demo: running for \d+:\d\d; ", lines[0]) and f"process {os.getpid()} on " in lines[0]
    assert lines[2:9] == [
        "stage            done",
        "prepare_dataset  1/1",
        "extract_flow     1/2",
        "train_cam        0/1  1 running",
        "predict_masks    0/1",
        "make_report      0/1",
        "",
    ]
    assert lines[9] == "now:" and lines[10].startswith("  train_cam  30/60 steps, ") and "1:30 left" in lines[10]
    assert lines[11] == "time left unknown: 2 min without predict_masks, make_report, never timed here"


def test_a_note_of_an_earlier_attempt_is_not_shown(status, write_record, tmp_path) -> None:
    began = time.time() - 100
    write_record(("start", 50, 3), time=began, **HERE)
    log = tmp_path / "logs/demo/train_cam.log"
    log.parent.mkdir(parents=True)
    note_path(log).write_text(json.dumps(asdict(Note(began, began + 40, "h", 1, 30, 60, unit="step"))))
    _, lines = status()
    assert not any("30/60" in line for line in lines)


def test_a_run_whose_snakemake_was_killed(status, write_record, tmp_path) -> None:
    write_record(("start", 1, 1), ("start", 1, 3), ("done", 21, 1))
    log = tmp_path / "logs/demo/train_cam.log"
    log.parent.mkdir(parents=True)
    note = Note(1001.0, 1030.0, "another", 1, 30, 60, unit="step")
    note_path(log).write_text(json.dumps(asdict(note)))
    code, lines = status("logs/demo/train_cam.log")
    assert code == 5
    assert lines[0].startswith("demo: interrupted: Snakemake is process ") and "ended without a word" in lines[0]
    assert lines[-5:] == [
        "",
        "at work when it ended:",
        "  train_cam  at 30 of 60 steps",
        "",
        "The command of the run, given again, goes on from here.",
    ]
    note_path(log).write_text(json.dumps(asdict(Note(1001.0, 1030.0, pid=os.getpid(), host=HERE["host"]))))
    assert f"goes on by itself (process {os.getpid()})" in status()[1][-3]


def test_a_process_with_the_number_of_the_killed_one_is_not_taken_for_it(status, write_record) -> None:
    write_record(("start", 1, 1), **HERE, process_began=process_began(os.getpid()) + "0")
    assert status()[0] == 5
    write_record(("start", 1, 1), **HERE, process_began=process_began(os.getpid()))
    assert status()[0] == 3


def test_a_run_of_another_machine_lives_while_it_gives_signs(status, write_record) -> None:
    path = write_record(("start", 1, 1), host="elsewhere")
    assert status()[0] == 5
    os.utime(path)
    assert status()[0] == 3


def test_a_run_that_failed(status, write_record, tmp_path) -> None:
    write_record(("start", 1, 3), ("failed", 9, 3), ("end", 10, "failed"))
    log = tmp_path / "logs/demo/train_cam.log"
    log.parent.mkdir(parents=True)
    log.write_text("\n".join(f"line {i}" for i in range(40)))
    code, lines = status("results/demo")
    assert code == 4 and lines[0].startswith("demo: failed ") and lines[0].endswith("ago, after 0:10")
    assert "train_cam        0/1  1 failed" in lines
    start = lines.index("train_cam of demo failed after 0:08")
    assert lines[start + 1 : start + 3] == ["  log: logs/demo/train_cam.log", "  | line 28"]
    assert lines[start + 13] == "  | line 39" and lines[-1] == "The command of the run, given again, goes on from here."
    os.utime(log, (900, 900))
    assert "  | (nothing was written to the log: the job ended before its first line)" in status()[1]
    log.unlink()
    assert "  | (there is no log)" in status()[1]


def test_a_run_that_is_done(status, write_record, tmp_path) -> None:
    write_record(*DONE, ("end", 90, "done"))
    results(tmp_path, "results/demo_vis.json")
    code, lines = status("results/demo/")
    assert code == 0 and lines[0].startswith("demo: done ") and lines[0].endswith("in 1:30")
    assert lines[-1] == "make_report      1/1"
    (tmp_path / "results/demo_vis.json").unlink()
    assert status("demo")[1][-1] == "results/demo_vis.json was made and is gone"


def test_what_is_gone_of_another_data_set_is_not_told(status, write_record, planned, tmp_path) -> None:
    plan = [planned(1, "make_report"), planned(2, "make_report", dataset="demo_1")]
    targets = ["results/demo_report.html", "results/demo_1_report.html"]
    results(tmp_path, targets[0])
    write_record(("done", 5, 1), ("done", 6, 2), ("end", 7, "done"), jobs=plan, targets=targets)
    assert not any("is gone" in line for line in status("demo")[1])
    assert status("demo_1")[1][-1] == "results/demo_1_report.html was made and is gone"


def test_a_run_that_the_user_stopped(status, write_record) -> None:
    write_record(("start", 1, 1), ("stop", 3, 1), ("end", 5, "stopped"))
    code, lines = status()
    assert code == 5 and lines[0].startswith("demo: stopped ")


def test_of_several_data_sets_each_has_its_own_state(status, write_record, planned, tmp_path) -> None:
    plan = [planned(1, "train_cam"), planned(2, "train_cam", dataset="bench")]
    results(tmp_path, "results/demo_vis.json")
    write_record(("done", 5, 1), ("failed", 6, 2), ("end", 7, "failed"), jobs=plan)
    assert status("demo")[0] == 0 and status("bench")[0] == 4 and status("results")[0] == 4
    lines = status("demo")[1]
    assert "all data sets of this run: 1 of 2 jobs done" in lines


def test_the_last_run_counts_and_a_living_one_before_all(status, write_record) -> None:
    write_record(("start", 1, 1), ("failed", 2, 1), ("end", 3, "failed"), name="run-a-1")
    write_record(*DONE, ("end", 90, "done"), name="run-b-1", time=2000.0)
    assert status()[0] == 0
    write_record(("start", 1, 1), name="run-0-1", time=500.0, **HERE)
    assert status()[0] == 3


def test_a_record_that_was_cut_is_read_up_to_there(status, write_record) -> None:
    path = write_record(("start", 1, 1), ("done", 5, 1))
    path.write_text(path.read_text()[:-9])
    assert "extract_flow     0/2  1 running" in status()[1]
    path.write_text('{"event": "run"')
    assert status()[0] == 6


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (None, (".", None)),
        ("results/demo", (".", "demo")),
        ("results/demo/", (".", "demo")),
        ("results/demo_vis.json", (".", "demo")),
        ("results/my_set_report.html", (".", "my_set")),
        ("results/demo_quality.csv", (".", "demo")),
        ("results/demo/flow/dis/shard-val-000.h5", (".", "demo")),
        ("logs/demo/train_cam.log", (".", "demo")),
        ("results", (".", None)),
        ("demo", (".", "demo")),
        (".", (".", None)),
        ("/far/away/results/demo", ("/far/away", "demo")),
        ("../other", ("../other", None)),
    ],
)
def test_paths_a_user_would_give(path, place, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder, dataset = place_of(Path(path) if path else None)
    assert (str(folder), dataset) == place


def test_a_folder_that_is_not_there(status) -> None:
    code, lines = status("../none/results/demo")
    assert code == 2 and lines[0].startswith("wsvis status: ../none is no folder; give results/<data set>")


def test_status_is_fast_because_it_imports_little(tmp_path) -> None:
    program = "import sys; from wsvis_core.cli import main; main(['status']); print([m for m in ('torch', 'cv2', "
    program += "'numpy', 'pydantic', 'snakemake') if m in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_old_records_go(tmp_path) -> None:
    for number in range(KEPT + 5):
        plan = {"event": "run", "time": 1000.0 + number, "pid": number, **_empty_plan()}
        Record(tmp_path / ".snakemake/wsvis", plan).close()
    runs = read_runs(tmp_path)
    assert [run.pid for run in runs] == list(range(KEPT + 4, 4, -1))


def _empty_plan() -> dict:
    return {"host": "h", "process_began": "", "cores": 1, "gpus": 1, "remote": False, "targets": [], "jobs": []}
