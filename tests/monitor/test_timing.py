"""The time left, against cases that can be counted by hand and bounds that always hold."""

from __future__ import annotations

import random

import pytest

from wsvis_core.monitor.run import Run
from wsvis_core.monitor.timing import TimeLeft, benchmark_seconds, rest_of_job, time_left
from wsvis_core.notes import Note

SECONDS = {(stage, "demo"): float(seconds) for stage, seconds in (("a", 10), ("b", 20), ("c", 5))}


def left(run: Run, notes=None, earlier=SECONDS, now: float = 1000.0) -> TimeLeft:
    return time_left(run, notes or {}, earlier, now)


@pytest.mark.parametrize(
    ("needs", "cores", "gpus", "seconds"),
    [
        ([[], [0], [1]], 2, 1, 35.0),  # a chain
        ([[], [], []], 3, 1, 20.0),  # all at once
        ([[], [], []], 1, 1, 35.0),  # one after the other
        ([[], [], []], 2, 1, 20.0),  # a, then c beside b
        ([[], [], [0]], 2, 1, 20.0),
        ([[], [], []], None, None, 20.0),  # a cluster
    ],
)
def test_jobs_start_when_they_can(run_of, planned, needs, cores, gpus, seconds: float) -> None:
    plan = [planned(i, stage, needs=needs[i]) for i, stage in enumerate("abc")]
    assert left(run_of(jobs=plan, cores=cores, gpus=gpus)) == TimeLeft(seconds)


def test_jobs_share_the_gpus(run_of, planned) -> None:
    plan = [planned(i, "a", f"{i}", gpu=1) for i in range(4)] + [planned(9, "b")]
    assert left(run_of(jobs=plan, cores=8, gpus=2)) == TimeLeft(20.0)
    assert left(run_of(jobs=plan, cores=8, gpus=1)) == TimeLeft(40.0)


def test_a_job_larger_than_the_machine_is_not_left_out(run_of, planned) -> None:
    plan = [planned(0, "a", threads=16), planned(1, "b", gpu=4)]
    assert left(run_of(jobs=plan)) == TimeLeft(30.0)


def test_between_the_longest_chain_and_all_of_it_in_a_row(run_of, planned) -> None:
    draw = random.Random(0)
    for _ in range(30):
        plan = [
            planned(i, draw.choice("abc"), str(i), needs=[j for j in range(i) if draw.random() < 0.2], gpu=i % 2)
            for i in range(20)
        ]
        chain: dict[int, float] = {}
        for job in plan:
            before = max((chain[need] for need in job["needs"]), default=0.0)
            chain[job["id"]] = before + SECONDS[job["stage"], "demo"]
        whole = sum(SECONDS[job["stage"], "demo"] for job in plan)
        found = left(run_of(jobs=plan, cores=3, gpus=1)).seconds
        assert found is not None
        assert max(max(chain.values()), whole / 3) - 1e-9 <= found <= whole + 1e-9
        assert left(run_of(jobs=plan, cores=None, gpus=None)).seconds == pytest.approx(max(chain.values()))


def test_this_run_s_own_jobs_count_more_than_earlier_ones(run_of, planned) -> None:
    plan = [planned(i, "a", str(i)) for i in range(4)]
    run = run_of(("start", 0, 0), ("done", 2, 0), ("start", 0, 1), ("done", 4, 1), jobs=plan, cores=1)
    assert left(run, now=1004.0) == TimeLeft(6.0)


def test_a_job_s_own_count_is_believed_first(run_of, planned) -> None:
    run = run_of(("start", 0, 0), jobs=[planned(0, "a")])
    note = Note(began=1010.0, time=1030.0, host="h", pid=1, done=30, total=100, start=20, unit="step")
    assert rest_of_job(run.jobs[0], note, 10.0, 1030.0) == pytest.approx(140.0)
    assert left(run, {0: note}, now=1030.0) == TimeLeft(pytest.approx(140.0))
    resumed = Note(began=1010.0, time=1010.0, host="h", pid=1, done=20, total=100, start=20, unit="step")
    assert rest_of_job(run.jobs[0], resumed, 50.0, 1030.0) == 20.0
    assert rest_of_job(run.jobs[0], None, 10.0, 1030.0) == 0.0
    assert rest_of_job(run.jobs[0], None, None, 1030.0) is None


def test_what_was_never_timed_is_named(run_of, planned) -> None:
    plan = [planned(0, "a"), planned(1, "x", needs=[0]), planned(2, "x", "2"), planned(3, "y")]
    assert left(run_of(jobs=plan)) == TimeLeft(10.0, ("x", "y"))
    assert left(run_of(jobs=plan[1:])) == TimeLeft(None, ("x", "y"))


def test_nothing_is_left(run_of, planned) -> None:
    assert left(run_of(jobs=[planned(0, "a", state="before")])) == TimeLeft(0.0)
    assert left(run_of(jobs=[])) == TimeLeft(0.0)


def test_what_a_failed_job_holds_up_does_not_hold_up_the_others(run_of, planned) -> None:
    plan = [planned(0, "a"), planned(1, "b", needs=[0])]
    assert left(run_of(("start", 0, 0), ("failed", 1, 0), jobs=plan)) == TimeLeft(20.0)


def test_benchmarks_of_earlier_runs(run_of, tmp_path) -> None:
    run = run_of()
    for job, content in ((1, "s\th:m:s\n4.0\t-\n"), (2, "s\n8.0\n"), (3, "s\nNA\n"), (4, "s\n"), (5, "")):
        path = tmp_path / run.jobs[job].benchmark
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert benchmark_seconds(run.jobs.values(), tmp_path) == {("extract_flow", "demo"): 6.0}
