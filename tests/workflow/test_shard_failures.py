"""A shard that fails is done again alone, and a full disk costs nothing that was finished."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from wsvis_core.storage.shards import verify_shard

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow-run")]
SHARDS = tuple(f"results/tiny/flow/dis/shard-train-00{n}.h5" for n in range(2))
# Python runs this first. The first process of rule extract_flow ends at once, like one that the system killed.
KILL_THE_FIRST = """
import os, sys
if any(name.endswith("extract_flow.py") for name in sys.orig_argv):
    try:
        os.close(os.open({marker!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    else:
        os._exit(1)
"""


def test_a_failed_shard_is_retried_alone(tiny_project, make_project, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILL_THE_FIRST.format(marker=str(tmp_path / "killed")))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    project = make_project(tiny_project.folder, tiny_project.config, SHARDS)
    outcome = project.run("--retries", "1")
    assert outcome.returncode == 0, outcome.output
    begun = Counter(line.split(": ", 1)[1] for line in outcome.output.splitlines() if ": Optical flow of " in line)
    assert sorted(begun) == [f"Optical flow of tiny, shard train-00{n}" for n in range(2)]
    assert sorted(begun.values()) == [1, 2] and outcome.output.count("Error in rule") == 1
    for path in SHARDS:
        verify_shard(project.folder / path)


def test_after_a_full_disk_the_same_command_goes_on(tiny_project, make_project, mount_disk) -> None:
    folder = mount_disk("4m")
    prepared = make_project(folder, tiny_project.config, ("results/tiny/dataset/videos.json",)).run()
    assert prepared.returncode == 0, prepared.output
    project = make_project(folder, tiny_project.config, SHARDS[:1])
    # Room for what Snakemake itself writes and for one or two of the four videos, 40 kB each.
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(folder).free - 110 * 1024))
    outcome = project.run()
    parts = list((folder / SHARDS[0]).parent.glob("*.parts/?.h5"))
    assert outcome.returncode != 0 and 1 <= len(parts) <= 3 and not (folder / SHARDS[0]).exists()
    assert re.search(r"\.h5 cannot be written: the disk is full \(.* free on .*\); make room there", outcome.output)
    assert "Traceback" not in outcome.output
    ballast.unlink()
    outcome = project.run()
    assert outcome.returncode == 0, outcome.output
    verify_shard(folder / SHARDS[0])
