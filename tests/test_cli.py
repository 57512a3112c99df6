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

    def run(truth=TRUTH, results=(RESULT,)):
        (tmp_path / "gt.json").write_text(json.dumps(truth))
        (tmp_path / "r.json").write_text(json.dumps(list(results)))
        output = tmp_path / "out" / "m.json"
        paths = [str(tmp_path / "gt.json"), str(tmp_path / "r.json"), str(output)]
        code = main(["evaluate", "--ground-truth", paths[0], "--results", paths[1], "--output", paths[2]])
        return code, json.loads(output.read_text()) if output.exists() else None

    return run


def test_evaluate_writes_the_metrics(evaluate, capsys):
    code, metrics = evaluate()
    assert code == 0
    assert [metrics[k] for k in ("mAP", "AP50", "AP75", "AR1", "AR10")] == [1.0] * 5
    assert capsys.readouterr().out == "mAP 1.0000  AP50 1.0000  AP75 1.0000  AR1 1.0000  AR10 1.0000\n"


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
