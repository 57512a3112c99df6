"""The pages that add a part to wsvis, done as they say, in a copy: files, edits, tests, commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

# One test process makes what all of them share.
pytestmark = pytest.mark.xdist_group("docs-extensions")
ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("add_*.md"))
PARTS = ("Snakefile", "config.yaml", "rules", "profiles", "workflow_scripts", "wsvis_core", "pyproject.toml")
TESTS = (
    "conftest.py",
    "test_kinds.py",
    "segmentation/conftest.py",
    "tracking/conftest.py",
    "tracking/test_trackers.py",
)


def do_as_told(folder: Path, blocks: Sequence[Any]) -> None:
    """Write the files and make the edits of a page."""
    for block in blocks:
        if block.language not in ("diff", "python", "yaml"):
            continue
        assert block.title, f'{block}: say which file it is: ```{block.language} title="…"'
        path = folder / block.title
        if block.language == "diff":
            path.write_text(edited(path.read_text(encoding="utf-8"), block))
        else:
            assert not path.exists(), f"{block}: {block.title} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")


def edited(text: str, block: Any) -> str:
    """The file after an edit: its lines with ' ' and '-' stand there exactly once and become those with ' ' and '+'."""
    lines = block.text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"{block}: these lines are {text.count(before)} times in {block.title}:\n{before}"
    return text.replace(before, after)


def copy_of_wsvis(folder: Path) -> Path:
    """The package, the workflow and what tests begin with."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    for name in TESTS:
        (folder / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / name, folder / "tests" / name)
    return folder


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory, blocks_of: Callable[[Path], list[Any]]) -> Path:
    """A copy of wsvis after all four pages."""
    folder = copy_of_wsvis(tmp_path_factory.mktemp("extended"))
    for page in PAGES:
        do_as_told(folder, blocks_of(page))
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COV_", "PYTEST_"))}
    environment |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_there_is_a_page_for_every_part() -> None:
    assert [page.stem for page in PAGES] == ["add_flow", "add_labeller", "add_segmenter", "add_tracker"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_whole_by_itself(page: Path, tmp_path: Path, blocks_of: Callable[[Path], list[Any]]) -> None:
    """Done alone: a file, its test, its two names; every file that is named in an edit is there."""
    shutil.copytree(ROOT / "wsvis_core", tmp_path / "wsvis_core", ignore=shutil.ignore_patterns("__pycache__"))
    blocks = blocks_of(page)
    do_as_told(tmp_path, blocks)
    made = [block.title for block in blocks if block.language == "python"]
    assert [name.split("/")[0] for name in made] == ["wsvis_core", "tests"]
    assert "wsvis_core/config.py" in [block.title for block in blocks if block.language == "diff"]


def test_the_tests_of_the_pages_pass(extended: Path, blocks_of: Callable[[Path], list[Any]]) -> None:
    own = [b.title for page in PAGES for b in blocks_of(page) if b.title.startswith("tests/")]
    general = ["tests/test_kinds.py", "tests/tracking/test_trackers.py"]
    # Of the tests of every tracker only those of the new one.
    done = run(extended, "pytest", "-q", "-p", "no:cacheprovider", *own, *general, "-k", "centres or not test_trackers")
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 15 and "skipped" not in done.stdout


def test_wsvis_check_takes_a_new_backend_for_none_that_is_not_installed(extended: Path) -> None:
    settings = "segmenters: {one_piece: {backend: one_piece}}\ndatasets: {demo: {pipeline: {segmenter: one_piece}}}\n"
    (extended / "with_one_piece.yaml").write_text(settings)
    done = run(extended, "wsvis_core.cli", "check", "--configfile", "with_one_piece.yaml", "--dataset", "demo")
    assert done.returncode == 0, done.stdout + done.stderr


def test_their_code_is_in_the_style_of_the_house(extended: Path, blocks_of: Callable[[Path], list[Any]]) -> None:
    names = [b.title for page in PAGES for b in blocks_of(page) if b.language in ("python", "diff")]
    for words in (("check",), ("format", "--check")):
        done = run(extended, "ruff", *words, "--no-cache", *dict.fromkeys(names))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.workflow
def test_their_commands_can_be_run(extended: Path, blocks_of: Callable[[Path], list[Any]], dry_run: Any) -> None:
    blocks = [block for page in PAGES for block in blocks_of(page) if block.language == "sh"]
    commands = [words for block in blocks for words in block.commands()]
    assert {words[0] for words in commands} == {"snakemake"}
    assert dry_run(extended, [words[1:] for words in commands]) == ""


@pytest.mark.workflow
def test_no_irnet_is_trained_for_a_labeller_that_has_none(extended: Path) -> None:
    target = "results/demo/pieces/pseudo_label_metrics.json"
    done = run(extended, "snakemake", "--dry-run", "--configfile", "pieces.yaml", "--", target)
    jobs = set(re.findall(r"^(\w+) +\d+$", done.stdout, re.MULTILINE))
    assert {"make_pseudo_labels", "extract_cam"} <= jobs and not {"train_flowirn", "make_label_maps"} & jobs
