"""What happened → what is shown."""

from __future__ import annotations

import pytest

from wsvis_core.monitor.text import (
    Scene,
    closing_line,
    duration,
    failure_lines,
    left_text,
    live_lines,
    plain_line,
    rough,
)
from wsvis_core.monitor.timing import TimeLeft
from wsvis_core.notes import Note

STARTED = [("start", 1, 1), ("start", 2, 3), ("done", 21, 1), ("start", 22, 2)]
NOTE = Note(began=1002.0, time=1032.0, host="h", pid=1, done=30, total=90, unit="step", text="loss 0.5")


def shown(scene, width=100, height=20, **options):
    return live_lines(scene, width, height, colour=False, **options)


def test_a_run_in_the_middle(run_of) -> None:
    scene = Scene(run_of(*STARTED), 1032.0, TimeLeft(130.0), {2: None, 3: NOTE})
    assert shown(scene) == [
        "wsvis ██████░░░░░░░░░░░░░░░░░░░░░░░░  1 of 5 jobs, 0:32 so far, about 2 min left",
        "done     prepare_dataset",
        "running  extract_flow 1/2   dis val-000  0:10",
        "         train_cam    0/1   30/90 steps, 0:30, 1:00 left, loss 0.5",
        "to come  predict_masks, make_report",
    ]


def test_a_failed_job_stays_in_view_and_a_new_attempt_takes_it_out(run_of) -> None:
    events = [*STARTED, ("failed", 40, 3)]
    lines = shown(Scene(run_of(*events), 1050.0))
    assert lines[2] == "failed   train_cam: logs/demo/train_cam.log"
    assert not any(line.startswith("failed") for line in shown(Scene(run_of(*events, ("start", 60, 3)), 1061.0)))


def test_what_the_user_stopped_is_to_come_again(run_of) -> None:
    run = run_of(*STARTED, ("stop", 40, 3))
    assert shown(Scene(run, 1050.0))[-1] == "to come  train_cam, predict_masks, make_report"


def test_events_of_jobs_outside_the_plan_are_left_out(run_of) -> None:
    assert run_of(("start", 1, 99)).jobs == run_of().jobs


@pytest.mark.parametrize("width", [20, 33, 60, 79, 140])
@pytest.mark.parametrize("height", [4, 7, 12])
def test_every_terminal_is_large_enough(run_of, planned, width: int, height: int) -> None:
    plan = [planned(i, f"stage_{i // 20}", f"variant shard-{i:03d}", needs=[]) for i in range(200)]
    run = run_of(*[("start", i, i) for i in range(30)], *[("failed", 90, i) for i in range(6)], jobs=plan)
    lines = shown(Scene(run, 1100.0, TimeLeft(5.0, ("stage_1", "stage_2", "stage_3"))), width, height)
    assert 0 < len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "of 200 jobs" in " ".join(lines)


def test_jobs_that_find_no_room_are_counted(run_of, planned) -> None:
    plan = [planned(i, "extract_flow", f"dis train-{i:03d}") for i in range(40)]
    run = run_of(*[("start", i, i) for i in range(16)], jobs=plan)
    lines = shown(Scene(run, 1100.0), 80, 8)
    assert len(lines) == 8 and lines[1].startswith("running  extract_flow 0/40")
    assert lines[-1] == "         and 10 more"


def test_colours_do_not_change_the_words(run_of) -> None:
    scene = Scene(run_of(*STARTED), 1032.0)
    coloured = live_lines(scene, 100, 20)
    assert all(line.startswith("\x1b[") and line.endswith("\x1b[0m") for line in coloured)
    assert [line.partition("m")[2].removesuffix("\x1b[0m") for line in coloured] == shown(scene)


def test_ascii_where_the_terminal_has_no_more(run_of) -> None:
    lines = shown(Scene(run_of(*STARTED), 1032.0), 60, 20, plain=True)
    assert all(line.isascii() for line in lines)
    assert shown(Scene(run_of(*STARTED), 1032.0), 100, 20, plain=True)[0].startswith("wsvis ######-----")


def test_control_characters_of_a_job_do_not_reach_the_terminal(run_of) -> None:
    note = Note(began=1002.0, time=1032.0, host="h", pid=1, done=1, total=9, unit="step", text="a\x1b[2Jb\n")
    assert "a [2Jb" in shown(Scene(run_of(*STARTED), 1032.0, notes={3: note}))[3]


def test_a_run_of_several_data_sets_names_them(run_of, planned) -> None:
    plan = [planned(1, "train_cam"), planned(2, "train_cam", dataset="bench")]
    lines = shown(Scene(run_of(("start", 1, 1), ("start", 1, 2), jobs=plan), 1005.0))
    assert [line.split() for line in lines[1:]] == [["running", "train_cam", "0/2", "demo", "0:04"], ["bench", "0:04"]]


def test_a_job_in_the_queue_of_a_cluster(run_of) -> None:
    run = run_of(*STARTED, remote=True)
    lines = shown(Scene(run, 1032.0, notes={2: Note(began=1022.0, time=1022.0, host="node1", pid=7), 3: None}))
    assert lines[2].endswith("dis val-000  0:10") and lines[3].endswith("in the cluster's queue")


def test_the_line_of_a_log_file(run_of) -> None:
    scene = Scene(run_of(*STARTED), 1032.0, TimeLeft(130.0), {2: None, 3: NOTE})
    assert plain_line(scene) == (
        "1 of 5 jobs done | running: train_cam 30/90 steps, 0:30, 1:00 left, loss 0.5; extract_flow dis val-000 0:10 | "
        "about 2 min left"
    )
    failed = Scene(run_of(*STARTED, ("failed", 40, 3), ("failed", 40, 2)), 1050.0)
    assert plain_line(failed) == ("1 of 5 jobs done | failed: train_cam, extract_flow dis val-000 | time left unknown")


def test_what_stays_on_the_terminal(run_of) -> None:
    run = run_of(*STARTED)
    run.outcome = "stopped"
    end = "1 of 5 jobs done in 1:00. The same command goes on from here."
    assert closing_line(run, 1060.0) == f"wsvis: stopped; {end}"
    run.apply({"event": "failed", "time": 1050.0, "job": 3})
    assert closing_line(run, 1060.0) == f"wsvis: train_cam failed; {end}"
    whole = run_of(*[("done", 5, job) for job in range(1, 6)])
    whole.outcome = "done"
    assert closing_line(whole, 1060.0) == "wsvis: all 5 jobs done in 1:00"


def test_a_failure_has_the_log_and_its_end(run_of) -> None:
    run = run_of(*STARTED)
    run.apply({"event": "failed", "time": 1032.0, "job": 2, "reason": "killed"})
    assert failure_lines(run.jobs[2], ["one", "x" * 200], 50, 1100.0) == [
        "extract_flow of demo (dis val-000) failed after 0:10: killed",
        "  log: logs/demo/extract_flow/dis/val-000.log",
        "  | one",
        "  | " + "x" * 45 + "…",
    ]


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (TimeLeft(None), "time left unknown"),
        (TimeLeft(None, ("a", "b")), "time left unknown"),
        (TimeLeft(44.0), "about 40 s left"),
        (TimeLeft(200.0, ("a",)), "time left unknown: 3 min without a, never timed here"),
        (TimeLeft(9000.0, ("a", "b", "c")), "time left unknown: 2.5 h without a, b and 1 more, never timed here"),
    ],
)
def test_the_time_left_says_what_it_leaves_out(left: TimeLeft, words: str) -> None:
    assert left_text(left) == words


def test_the_live_view_has_room_for_its_bar_beside_what_was_never_timed(run_of) -> None:
    left = TimeLeft(200.0, ("a", "b", "c"))
    (head, *_) = shown(Scene(run_of(*STARTED), 1032.0, left), 99)
    assert head.startswith("wsvis █") and head.endswith("0:32 so far, time left unknown (3 stages never timed)")


def test_times() -> None:
    assert [duration(t) for t in (-1, 0, 59.9, 61, 3725)] == ["0:00", "0:00", "0:59", "1:01", "1:02:05"]
    assert [rough(t) for t in (0, 84, 90, 5399, 5400, 2e5)] == ["10 s", "80 s", "2 min", "90 min", "1.5 h", "2.3 days"]
