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


def test_reading_the_rules_imports_no_torch() -> None:
    """It is two of the four seconds that every dry-run, and every job of a cluster, begins with."""
    lines = (ROOT / "rules/common.smk").read_text().splitlines()
    imports = [line for line in lines if line.startswith("from wsvis_core")]
    assert len(imports) >= 5
    heavy = "print(sorted({'torch', 'torchvision', 'scipy', 'h5py', 'matplotlib'} & set(sys.modules)))"
    code = "\n".join(["import sys", *imports, heavy])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
