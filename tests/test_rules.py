"""The rules by themselves, on dry runs: nothing may ever overwrite a user's own data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.workflow
def test_a_forced_run_does_not_generate_a_user_s_data_set(tmp_path: Path) -> None:
    (tmp_path / "data/ytvis").mkdir(parents=True)
    (tmp_path / "data/ytvis/train.json").write_text("{}")
    target = "results/ytvis/dataset/videos.json"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    done = subprocess.run([*command, "-n", "--forceall", target], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "prepare_dataset" in done.stdout + done.stderr
    assert "generate_dataset" not in done.stdout + done.stderr
