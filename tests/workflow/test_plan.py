"""`wsvis plan` knows what Snakemake knows: what is done, and what an edit reruns."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from wsvis_core.planning.jobs import planned_jobs

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow-run")]
TRACKING = {"datasets": {"tiny": {"tracking": {"max_tracks": 7}}}}


def test_a_plan_shows_what_is_done_and_what_an_edit_reruns(
    finished_run, root: Path, tmp_path: Path, monkeypatch
) -> None:
    project = finished_run.project
    monkeypatch.chdir(project.folder)
    (tmp_path / "edit.yaml").write_text(yaml.safe_dump(TRACKING))
    files, snakefile = [project.folder / "tiny.yaml"], root / "Snakefile"
    jobs = planned_jobs("tiny", project.targets, files, snakefile=snakefile)
    # generate_dataset writes below data/, and Snakemake lists it with the rest.
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job.work.stage] = counts.get(job.work.stage, 0) + 1
    assert counts == finished_run.outcome.jobs and not any(job.todo for job in jobs)
    edited = planned_jobs("tiny", project.targets, [*files, tmp_path / "edit.yaml"], snakefile=snakefile)
    again = {job.work.stage for job in edited if job.todo}
    quality = {"estimate_quality", "evaluate_quality", "publish_quality"}
    assert again == {"track_instances", "evaluate_video", "publish_tracks", "make_report"} | quality
