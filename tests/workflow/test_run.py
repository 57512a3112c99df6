"""One whole run: its results, its logs, what every rule declares, and that a second run does nothing."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wsvis_core.tracking.results import read_results

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow-run")]
DECLARED = ("log", "benchmark", "conda", "threads", "resources", "message", "script", "output")
RULES = {
    name: body
    for path in sorted((Path(__file__).resolve().parents[2] / "rules").glob("*.smk"))
    for name, body in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(), re.MULTILINE | re.DOTALL)
}


def test_every_stage_runs(finished_run) -> None:
    # A choice between routes is made where all videos are trained on (test_own_videos).
    assert set(finished_run.outcome.jobs) == set(RULES) - {"choose_route"}
    total = sum(finished_run.outcome.jobs.values())
    assert f"{total} of {total} steps (100%) done" in finished_run.outcome.output


def test_result_file_holds_tracks_of_held_out_videos(finished_run) -> None:
    folder = finished_run.project.folder
    results = read_results(folder / "results/tiny_vis.json")
    splits = json.loads((folder / "results/tiny/dataset/splits.json").read_text())
    assert results
    assert {entry["video_id"] for entry in results} <= set(splits["val"])


def test_report_is_one_self_contained_page(finished_run) -> None:
    page = (finished_run.project.folder / "results/tiny_report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    sources = re.findall(r"""\b(?:src|href)\s*=\s*["']([^"']*)""", page)
    assert sources
    assert [source[:60] for source in sources if not source.startswith(("data:", "#"))] == []
    assert "@import" not in page
    assert re.search(r"url\((?!['\"]?(?:data:|#))", page) is None


def test_every_job_leaves_a_log_and_a_benchmark(finished_run) -> None:
    folder = finished_run.project.folder / "logs/tiny"
    benchmarks = {path.relative_to(folder / "benchmarks").with_suffix("") for path in folder.rglob("*.tsv")}
    logs = {path.relative_to(folder).with_suffix("") for path in folder.rglob("*.log")}
    assert logs == benchmarks
    assert len(logs) == sum(finished_run.outcome.jobs.values())
    unfinished = [path for path in folder.rglob("*.log") if "done in" not in path.read_text()]
    assert unfinished == []


def test_second_run_has_nothing_to_do(finished_run, tmp_path: Path) -> None:
    project = finished_run.project.copy(tmp_path / "project")
    result = project.folder / "results/tiny_vis.json"
    before = result.stat().st_mtime_ns
    outcome = project.run()
    assert outcome.returncode == 0
    assert "Nothing to be done" in outcome.output
    assert outcome.jobs == {}
    assert result.stat().st_mtime_ns == before


@pytest.mark.parametrize("rule", RULES)
def test_rule_declares_everything_a_cluster_needs(rule: str) -> None:
    keywords = re.findall(r"^    (\w+):", RULES[rule], re.MULTILINE)
    assert [name for name in DECLARED if name not in keywords] == []
    resources = re.search(r"^    resources:\n((?:        .*\n)+)", RULES[rule], re.MULTILINE)[1]
    assert {"mem_mb", "runtime"} <= set(re.findall(r"(\w+)=", resources))
    assert f'"../workflow_scripts/{rule}.py"' in RULES[rule]


def test_lint_is_clean(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--lint", "--snakefile", str(root / "Snakefile")]
    done = subprocess.run([*command, "--directory", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "your workflow is in a good condition" in done.stdout + done.stderr


def test_the_table_has_a_row_per_labeller_and_is_on_the_page(finished_run) -> None:
    folder = finished_run.project.folder / "results"
    with open(folder / "tiny/tables/table4.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["labeller"] for row in rows] == ["irn", "flowirn"]
    for row in rows:
        metrics = json.loads((folder / "tiny" / row["labeller"] / "pseudo_label_metrics.json").read_text())
        assert float(row["AP50_mean"]) == pytest.approx(metrics["rest"]["AP50"], abs=1e-4)
        assert metrics["selection"]["frames"] + metrics["rest"]["frames"] == metrics["frames"]
    assert "<svg" in (folder / "tiny/tables/table4.svg").read_text()
    page = (folder / "tiny_report.html").read_text()
    assert "<caption>Table 4</caption>" in page and "<caption>Table 5</caption>" in page


def test_table_5_has_quality_and_consistency_of_both_rounds(finished_run) -> None:
    folder = finished_run.project.folder / "results/tiny"
    with open(folder / "tables/table5.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["segmenter"] for row in rows] == ["maskconsist", "maskconsist + self-training"]
    for number, row in enumerate(rows):
        round_folder = folder / f"flowirn/maskconsist/round-{number}"
        frames = json.loads((round_folder / "frame_metrics.json").read_text())
        consistency = json.loads((round_folder / "consistency_metrics.json").read_text())
        assert float(row["AP50_mean"]) == pytest.approx(frames["AP50"], abs=1e-4)
        assert row["TC_mean"] == ("" if consistency["TC"] < 0 else f"{consistency['TC']:.4f}")
        assert consistency["pairs"] > 0
