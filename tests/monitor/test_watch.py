"""What Snakemake says → what is recorded and shown; with a stand-in for Snakemake. tests/workflow has the real one."""

from __future__ import annotations

import io
import json
import logging
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from wsvis_core.monitor import watch as watch_module
from wsvis_core.monitor.record import read_runs
from wsvis_core.monitor.run import DONE, FAILED, RUNNING, WAITING
from wsvis_core.monitor.watch import Watch, plan_event, watch

FAILED_COMMAND = (
    "RuleException:\nCalledProcessError in file 'cam.smk', line 27:\nCommand 'python tmpx1.train_cam.py' {}"
)


def snakemake_job(rule: str, *, gpu: int = 0, threads: int = 1, output=("out",), **wildcards: str):
    resources = {"_cores": SimpleNamespace(value=threads), "gpu": SimpleNamespace(value=gpu)}
    kind = SimpleNamespace(name=rule, resources=resources)
    paths = {"log": [f"logs/{rule}.log"], "benchmark": f"logs/{rule}.tsv", "output": list(output), "input": ["in"]}
    return SimpleNamespace(rule=kind, wildcards_dict={"dataset": "demo", **wildcards}, **paths)


class Plan:
    """Of Snakemake's plan of jobs what is used."""

    def __init__(self, jobs) -> None:
        self.jobs = jobs
        self.targetjobs = jobs[-1:]
        self.done: set[int] = set()

    def jobid(self, job) -> int:
        return next(i for i, other in enumerate(self.jobs) if other is job)

    def job_dependencies(self, job):
        return self.jobs[: self.jobid(job)][-1:]

    def needrun(self, job) -> bool:
        return self.jobid(job) > 0

    def finished(self, job) -> bool:
        return self.jobid(job) in self.done


@pytest.fixture
def workflow():
    """A stand-in for Snakemake's workflow with four jobs, the first done before and the last without results."""
    jobs = [
        snakemake_job("prepare_dataset"),
        snakemake_job("train_cam", gpu=1, threads=8),
        snakemake_job("train_maskconsist", labeller="irn", segmenter="maskconsist", round="1"),
        snakemake_job("all", output=()),
    ]
    settings = SimpleNamespace(quiet=None, stdout=False, verbose=False, debug_dag=False, nocolor=False)
    resources = {"gpu": SimpleNamespace(value=2)}
    return SimpleNamespace(
        dag=Plan(jobs), local_exec=True, cores=4, nodes=None, global_resources=resources, output_settings=settings
    )


@pytest.fixture
def logger():
    """Snakemake's log with the handler of the screen."""
    logger = logging.Logger("snakemake")
    handler = logging.StreamHandler(io.StringIO())
    handler.name = "DefaultStreamHandler"
    logger.addHandler(handler)
    return logger


@pytest.fixture
def watched(workflow, logger, tmp_path, monkeypatch):
    """A watched run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    found = Watch(workflow, logger)
    found.start()
    yield found
    found.close()


def say(logger: logging.Logger, event: str, message: str = "", **more) -> None:
    logger.info(message, extra={"event": event, **more})


def states(folder: Path) -> dict[str, str]:
    return {job.stage: job.state for job in read_runs(folder)[0].jobs.values()}


def test_the_plan(workflow) -> None:
    event = plan_event(workflow, 5.0)
    assert (event["cores"], event["gpus"], event["remote"], event["pid"]) == (4, 2, False, os.getpid())
    assert event["targets"] == ["in"]
    first, second, third = event["jobs"]
    assert (first["state"], second["state"]) == ("before", "waiting")
    assert (second["threads"], second["gpu"], second["needs"]) == (4, 1, [0])
    assert third["name"] == "irn maskconsist round 1" and third["dataset"] == "demo"
    assert json.loads(json.dumps(event)) == event


def test_the_plan_on_a_cluster_has_room_for_jobs_not_cores(workflow) -> None:
    workflow.local_exec, workflow.nodes = False, 100
    event = plan_event(workflow, 5.0)
    assert (event["cores"], event["gpus"], event["remote"]) == (100, None, True)
    assert [(job["threads"], job["gpu"]) for job in event["jobs"]] == [(1, 0)] * 3


def test_a_run_from_its_begin_to_its_end(watched, workflow, logger, tmp_path) -> None:
    say(logger, "job_info", jobid=1)
    assert states(tmp_path)["train_cam"] == RUNNING
    workflow.dag.done.add(1)
    say(logger, "job_info", jobid=2)
    say(logger, "job_error", jobid=2, rule_name="train_maskconsist", rule_msg=" SLURM status is:\n 'TIMEOUT' ")
    assert states(tmp_path) == {"prepare_dataset": "before", "train_cam": DONE, "train_maskconsist": FAILED}
    assert read_runs(tmp_path)[0].jobs[2].reason == "SLURM status is: 'TIMEOUT'"
    say(logger, "job_info", jobid=2)
    assert states(tmp_path)["train_maskconsist"] == RUNNING
    workflow.dag.done.add(2)
    watched.close()
    watched.close()
    run = read_runs(tmp_path)[0]
    assert run.outcome == "done" and states(tmp_path)["train_maskconsist"] == DONE


@pytest.mark.parametrize(
    ("ended", "state", "reason"),
    [
        ("returned non-zero exit status 2.", FAILED, ""),
        ("returned non-zero exit status 9.", FAILED, "exit code 9"),
        ("returned non-zero exit status 143.", FAILED, "ended by SIGTERM"),
        ("died with <Signals.SIGSEGV: 11>.", FAILED, "ended by SIGSEGV"),
        ("died with <Signals.SIGKILL: 9>.", FAILED, "killed (SIGKILL): most often the machine had no memory left; "),
        ("died with <Signals.SIGINT: 2>.", WAITING, ""),
        ("returned non-zero exit status 130.", WAITING, ""),
    ],
)
def test_why_a_job_ended(watched, logger, tmp_path, ended, state, reason) -> None:
    say(logger, "job_info", jobid=1)
    say(logger, "error", FAILED_COMMAND.format(ended), exception="RuleException")
    say(logger, "job_error", jobid=1, rule_name="train_cam", rule_msg=None)
    watched.close()
    run = read_runs(tmp_path)[0]
    assert run.jobs[1].state == state and run.jobs[1].reason.startswith(reason)
    assert run.outcome == ("failed" if state == FAILED else "stopped")
    said = logger.handlers[0].stream.getvalue()
    assert (f"train_cam: {reason}" in said) == bool(reason)  # what Snakemake's own lines leave out


def test_on_a_terminal_snakemake_leaves_its_jobs_to_the_view(watched, workflow, logger, monkeypatch, capsys) -> None:
    frames, last = [], []

    class Screen:
        def __init__(self, draw) -> None:
            frames.append(draw(80, 20))
            self.draw = draw

        def close(self, lines) -> None:
            last.extend(lines)

    monkeypatch.setattr(watch_module, "is_terminal", lambda stream: True)
    monkeypatch.setattr(watch_module, "Screen", Screen)
    monkeypatch.setenv("WSVIS_LIVE", "to be restored")
    watched.close()
    shown = Watch(workflow, logger)
    shown.start()
    assert os.environ["WSVIS_LIVE"] and "0 of 2 jobs" in frames[0][0]
    say(logger, "job_info", "Rule: train_cam", jobid=1)
    say(logger, "progress", "1 of 2 steps")
    logger.info("Select jobs to execute...")
    logger.info("Terminating processes on user request")
    say(logger, "error", FAILED_COMMAND.format("returned non-zero exit status 2."))
    say(logger, "error", "MissingOutputException: no output")
    Path("logs").mkdir()
    Path("logs/train_cam.log").write_text("weights are missing\n")
    say(logger, "job_error", "Error in rule", jobid=1, rule_name="train_cam", rule_msg=None)
    shown.close()
    said = logger.handlers[0].stream.getvalue().splitlines()
    assert said == ["Terminating processes on user request", "MissingOutputException: no output"]
    printed = capsys.readouterr().err
    assert "train_cam of demo failed after 0:00\n  log: logs/train_cam.log\n  | weights are missing\n" in printed
    assert last == ["wsvis: train_cam failed; 0 of 2 jobs done in 0:00. The same command goes on from here."]
    assert "WSVIS_LIVE" not in os.environ


def test_in_a_log_file_a_plain_line_tells_how_far_it_is(watched, logger, monkeypatch) -> None:
    monkeypatch.setattr(watch_module, "SECONDS_BETWEEN_LINES", 0.0)
    say(logger, "job_info", jobid=1)
    until = time.monotonic() + 20
    while "jobs done" not in logger.handlers[0].stream.getvalue() and time.monotonic() < until:
        time.sleep(0.05)
    assert "0 of 2 jobs done | running: train_cam 0:0" in logger.handlers[0].stream.getvalue()


@pytest.mark.parametrize("quiet", ["progress", "rules"])
def test_quiet_means_quiet(workflow, logger, tmp_path, monkeypatch, quiet) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watch_module, "is_terminal", lambda stream: True)
    monkeypatch.setattr(watch_module, "SECONDS_BETWEEN_LINES", 0.0)
    workflow.output_settings.quiet = {quiet}
    found = Watch(workflow, logger)
    found.start()
    say(logger, "job_info", jobid=1)
    workflow.dag.done |= {1, 2}
    found.close()
    assert "WSVIS_LIVE" not in os.environ and "jobs done" not in logger.handlers[0].stream.getvalue()
    assert read_runs(tmp_path)[0].outcome is not None


def test_a_folder_that_cannot_be_written_costs_the_record_and_not_the_run(
    workflow, logger, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").write_text("a file")
    watch(workflow, logger)
    assert "this run is not recorded for `wsvis status` (" in logger.handlers[0].stream.getvalue()


def test_another_snakemake_costs_the_record_and_not_the_run(workflow, logger, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    del workflow.dag
    watch(workflow, logger)
    assert "this run is not recorded for `wsvis status` (AttributeError: " in logger.handlers[0].stream.getvalue()


def test_words_of_another_snakemake_do_not_end_the_run(watched, logger, tmp_path, capsys) -> None:
    say(logger, "job_info")  # no job is named
    say(logger, "job_info", jobid=1)
    assert states(tmp_path)["train_cam"] == RUNNING and "no attribute 'jobid'" in capsys.readouterr().err
