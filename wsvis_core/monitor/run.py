"""A run of the workflow as its jobs and what became of each; changed by events only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A job of the plan: done before this run · waits · runs · ended well · ended otherwise.
BEFORE, WAITING, RUNNING, DONE, FAILED = "before", "waiting", "running", "done", "failed"


@dataclass
class Job:
    """name: its variants and shard, "" where the stage has one job. needs: ids of jobs that come before.

    began, ended: seconds since 1970. reason: why it failed, as far as Snakemake knows.
    """

    id: int
    stage: str
    dataset: str
    name: str
    log: str
    benchmark: str
    threads: int = 1
    gpu: int = 0
    needs: tuple[int, ...] = ()
    state: str = WAITING
    began: float | None = None
    ended: float | None = None
    reason: str = ""


@dataclass
class Run:
    """One call of Snakemake. remote: its jobs go to a cluster. cores, gpus: at a time; None: as many as there are.

    outcome: None while it goes on, else "done", "failed" or "stopped". seen: when something was last heard of it.
    """

    host: str
    pid: int
    began: float
    targets: tuple[str, ...]
    cores: int | None
    gpus: int | None
    remote: bool
    jobs: dict[int, Job]
    process_began: str = ""
    outcome: str | None = None
    ended: float | None = None
    seen: float = 0.0
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def begin(cls, event: Mapping[str, Any]) -> Run:
        """From the first event, which holds the plan."""
        jobs = [Job(**{**entry, "needs": tuple(entry["needs"])}) for entry in event["jobs"]]
        plain = {name: event[name] for name in ("host", "pid", "cores", "gpus", "remote", "process_began")}
        return cls(
            began=event["time"],
            seen=event["time"],
            targets=tuple(event["targets"]),
            jobs={job.id: job for job in jobs},
            **plain,
        )

    def apply(self, event: Mapping[str, Any]) -> None:
        """One thing happened: a job started, is done, failed or was stopped by the user, or the run ended.

        Jobs outside the plan are left out.
        """
        self.seen = event["time"]
        if event["event"] == "end":
            self.outcome, self.ended = event["outcome"], event["time"]
            return
        job = self.jobs.get(event["job"])
        if job is None:
            return
        if event["event"] == "start":
            job.state, job.began, job.ended, job.reason = RUNNING, event["time"], None, ""
        elif event["event"] == "stop":
            job.state, job.began = WAITING, None
        elif event["event"] in (DONE, FAILED):
            job.state, job.ended = event["event"], event["time"]
            job.reason = event.get("reason", "")

    def of(self, *states: str) -> list[Job]:
        """Jobs in one of these states; those that run in the order in which they began."""
        found = [job for job in self.jobs.values() if job.state in states]
        return sorted(found, key=lambda job: job.began or 0.0)

    @property
    def todo(self) -> list[Job]:
        """The jobs of this run, without those that were done before."""
        return [job for job in self.jobs.values() if job.state != BEFORE]

    @property
    def datasets(self) -> list[str]:
        return sorted({job.dataset for job in self.jobs.values()})

    def only(self, dataset: str) -> Run:
        """The same run as if it had the jobs of one data set only."""
        jobs = {key: job for key, job in self.jobs.items() if job.dataset == dataset}
        return Run(**{**vars(self), "jobs": jobs})


def per_stage(jobs: Iterable[Job]) -> dict[str, Counter[str]]:
    """Number of jobs in each state, by stage; stages in the order of the pipeline."""
    counts: dict[str, Counter[str]] = {}
    for job in jobs:
        counts.setdefault(job.stage, Counter())[job.state] += 1
    return counts
