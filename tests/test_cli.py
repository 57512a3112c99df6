"""The `wsvis` command, called as a function and once as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from wsvis_core.cli import main
from wsvis_core.errors import WsvisError
from wsvis_core.storage.rle import encode_mask

MASK = encode_mask(np.eye(4, 6, dtype=bool))
TRUTH = {
    "videos": [{"id": 1, "width": 6, "height": 4, "length": 2}],
    "categories": [{"id": 1, "name": "a"}],
    "annotations": [{"id": 1, "video_id": 1, "category_id": 1, "segmentations": [MASK, None]}],
}
RESULT = {"video_id": 1, "category_id": 1, "score": 0.5, "segmentations": [MASK, None]}


@pytest.fixture
def evaluate(tmp_path):
    """Runs `wsvis evaluate` on given content; returns (exit code, metrics or None)."""

    def run(truth=TRUTH, results=(RESULT,), *options):
        (tmp_path / "gt.json").write_text(json.dumps(truth))
        (tmp_path / "r.json").write_text(json.dumps(list(results)))
        output = tmp_path / "out" / "m.json"
        paths = [str(tmp_path / "gt.json"), str(tmp_path / "r.json"), str(output)]
        command = ["evaluate", "--ground-truth", paths[0], "--results", paths[1], "--output", paths[2]]
        code = main(command + [str(option) for option in options])
        return code, json.loads(output.read_text()) if output.exists() else None

    return run


def test_evaluate_writes_the_metrics(evaluate, capsys):
    code, metrics = evaluate()
    assert code == 0
    assert [metrics[k] for k in ("mAP", "AP50", "AP75", "AR1", "AR10")] == [1.0] * 5
    assert metrics["intervals"]["AP50"] == [1.0, 1.0] and metrics["bootstrap"]["resamples"] == 1000
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "95 % interval"
    assert [line.split() for line in lines[1:]] == [
        [name, "1.0000", "1.0000", "to", "1.0000"] for name in ("mAP", "AP50", "AP75", "AR1", "AR10")
    ]


def test_evaluate_without_intervals_per_category(evaluate, capsys):
    truth = TRUTH | {"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    code, metrics = evaluate(truth, (), "--bootstrap", 0, "--per-category")
    assert code == 0 and "intervals" not in metrics
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["mAP", "0.0000"] and lines[5] == ["a", "mAP", "0.0000"] and lines[10] == ["b", "mAP", "-"]


def test_evaluate_compares_two_files(evaluate, tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text(json.dumps([RESULT]))
    wrong = RESULT | {"segmentations": [None, MASK]}
    code, metrics = evaluate(TRUTH, (wrong,), "--compare", other, "--bootstrap", 20, "--seed", 4, "--confidence", 0.9)
    assert code == 0
    row = {"a": 0.0, "b": 1.0, "difference": 1.0, "interval": [1.0, 1.0], "share_b_better": 1.0}
    assert metrics["comparison"]["metrics"]["AP50"] == row and metrics["comparison"]["b"] == str(other)
    assert metrics["bootstrap"] == {"resamples": 20, "confidence": 0.9, "seed": 4}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("  B better in") and "90 % interval" in lines[0]
    assert lines[1].split() == ["mAP", "0.0000", "1.0000", "+1.0000", "+1.0000", "to", "+1.0000", "100.0", "%"]


def test_evaluate_names_the_file_with_a_problem(evaluate, tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text(json.dumps([RESULT | {"score": 2}]).replace('"score": 2', '"score": 2, "score": NaN'))
    code, _ = evaluate(TRUTH, (RESULT,), "--compare", other)
    assert code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "wsvis evaluate: the evaluation input has 2 problems:"
    keys = "video_id, category_id, score, segmentations"
    assert lines[1] == f"  {other}: result 1: an object with keys {keys}: key 'score' occurs 2 times"
    assert lines[2] == f"  {other}: result 1 (video 1, category 1): score must be a finite number, not nan"


def test_evaluate_writes_curves(evaluate, tmp_path, capsys):
    code, metrics = evaluate(TRUTH, (RESULT,), "--curves", tmp_path / "c.csv")
    assert code == 0
    rows = (tmp_path / "c.csv").read_text().splitlines()
    assert rows[:2] == ["category_id,name,recall,AP50,AP75,mAP", ",mean,0.00,1.0,1.0,1.0"]
    assert len(rows) == 1 + 2 * 101 and rows[-1] == "1,a,1.00,1.0,1.0,1.0"
    assert evaluate(TRUTH, (RESULT,), "--curves", tmp_path / "c.json")[0] == 0
    written = json.loads((tmp_path / "c.json").read_text())
    assert written["recall"][:3] == [0.0, 0.01, 0.02] and written["mean"] == metrics["precision_recall"]["mean"]
    assert evaluate(TRUTH, (RESULT,), "--curves", tmp_path / "c.txt")[0] == 2
    assert "written as .csv or .json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [("--bootstrap", "-1"), ("--confidence", "95"), ("--seed", "x"), ("--processes", "0")]
)
def test_evaluate_refuses_wrong_options(evaluate, options, capsys):
    with pytest.raises(SystemExit) as caught:
        evaluate(TRUTH, (RESULT,), *options)
    assert caught.value.code == 2 and options[0] in capsys.readouterr().err


def test_evaluate_reports_all_problems(evaluate, capsys):
    code, metrics = evaluate(results=[dict(RESULT, video_id=0), dict(RESULT, category_id=2)])
    assert code == 2 and metrics is None
    error = capsys.readouterr().err
    assert error.startswith("wsvis evaluate: the evaluation input has 2 problems:\n")
    assert "result 1 (video 0" in error and "result 2 (video 1, category 2)" in error


def test_missing_file_is_told_without_a_traceback(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "wsvis_core.cli", "evaluate", "--ground-truth", "none.json"]
    command += ["--results", "r.json", "--output", "m.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert "none.json does not exist" in done.stderr and "Traceback" not in done.stderr


def test_evaluate_does_not_import_torch(tmp_path):
    (tmp_path / "gt.json").write_text(json.dumps(TRUTH))
    (tmp_path / "r.json").write_text(json.dumps([RESULT]))
    options = ["evaluate", "--ground-truth", "gt.json", "--results", "r.json", "--output", "m.json", "--processes", "2"]
    program = f"import sys; from wsvis_core.cli import main; assert main({options}) == 0; print('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_unwritable_output_is_told(evaluate, tmp_path, capsys):
    (tmp_path / "out").write_text("a file, not a folder")
    assert evaluate()[0] == 2
    assert "out" in capsys.readouterr().err


def test_no_command_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2 and "command" in capsys.readouterr().err


@pytest.mark.parametrize(("problems", "code"), [([], 0), (["data/x is missing"], 2), (["a", "b"], 2)])
def test_check(monkeypatch, capsys, problems, code):
    seen = []
    check = types.ModuleType("wsvis_core.check")
    check.check_project = lambda files, dataset: seen.append((files, dataset)) or problems
    monkeypatch.setitem(sys.modules, "wsvis_core.check", check)
    assert main(["check", "--configfile", "a.yaml", "--configfile", "b.yaml", "--dataset", "demo"]) == code
    assert [str(f) for f in seen[0][0]] == ["a.yaml", "b.yaml"] and seen[0][1] == "demo"
    printed = capsys.readouterr()
    assert all(problem in printed.err for problem in problems)
    assert ("no problem found" in printed.out) == (not problems)


def test_check_with_a_broken_configuration(monkeypatch, capsys):
    def check_project(files, dataset):
        raise WsvisError("config.yaml: unknown key 'fluw'")

    monkeypatch.setitem(sys.modules, "wsvis_core.check", types.SimpleNamespace(check_project=check_project))
    assert main(["check"]) == 2
    assert capsys.readouterr().err == "wsvis check: config.yaml: unknown key 'fluw'\n"
