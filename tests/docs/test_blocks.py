"""What the documentation tells to type works: every block of commands, code or settings is run, or says why not.

`wsvis` commands run on a tiny generated data set, those of Snakemake as dry runs of the real workflow, settings are
checked by the real models. Pages that add a part to wsvis have tests of their own (test_extensions.py).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsvis_core.check import load_config
from wsvis_core.cli import build_parser, main
from wsvis_core.errors import WsvisError
from wsvis_core.tracking.results import write_results
from wsvis_core.visualization.mp4 import write_mp4

# One test process makes what all of them share.
pytestmark = pytest.mark.xdist_group("docs-blocks")
ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks/README.md"]
LANGUAGES = ("sh", "python", "yaml", "diff", "text")
# Why a block is not run. A new reason is a new entry here.
REASONS = {"needs a compiler and the network"}
PROGRAMS = ("make", "wsvis", "snakemake", "python")
# The workflow, as a user has it in the folder of the Snakefile; commands may write into what is copied.
COPIED = ("Snakefile", "config.yaml", "rules", "profiles", "workflow_scripts", "tools", "docs")
LINKED = ("wsvis_core", "benchmarks")


def is_extension(page: Path) -> bool:
    """Does the page add a part? Then test_extensions.py runs its blocks."""
    return page.name.startswith("add_")


def test_every_block_is_run_or_says_why_not(blocks_of: Callable[[Path], list[Any]]) -> None:
    problems = []
    for page in PAGES:
        for block in blocks_of(page):
            if block.language not in LANGUAGES:
                problems.append(f"{block}: name its language after the ticks: {', '.join(LANGUAGES)} (text is not run)")
            elif block.not_run is not None and block.not_run not in REASONS:
                problems.append(f"{block}: '{block.not_run}' is not one of the reasons ({', '.join(REASONS)})")
            elif block.not_run is None and block.language == "sh":
                unknown = {words[0] for words in block.commands()} - set(PROGRAMS)
                problems += [
                    f"{block}: nothing here runs `{name}`; if nothing can, write `<!-- not run: reason -->` above the "
                    f"block, with one of the reasons: {', '.join(REASONS)}"
                    for name in sorted(unknown)
                ]
            elif block.language in ("python", "diff") and not is_extension(page):
                problems.append(f"{block}: code is run on pages named add_… only (test_extensions.py)")
    assert problems == []


def test_no_fence_is_overlooked(blocks_of: Callable[[Path], list[Any]]) -> None:
    for page in PAGES:
        fences = re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(page)), f"{page.name}: a fence is indented, not closed or oddly titled"


# ---- a folder as a user has it --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory, prepared: Path, truth: dict[str, Any]) -> Path:
    """The folder of the Snakefile and what the pages take for granted: a finished demo, films, YouTube-VIS."""
    folder = tmp_path_factory.mktemp("furnished") / "wsvis"
    folder.mkdir()
    for part in COPIED:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    for part in LINKED:
        (folder / part).symlink_to(ROOT / part)
    shutil.copytree(prepared, folder / "results/demo/dataset")
    write_results(folder / "results/demo_vis.json", _true_tracks(truth))
    for name in ("a.json", "b.json"):
        shutil.copy(folder / "results/demo_vis.json", folder / name)
    shutil.copy(prepared / "ground_truth_val.json", folder / "gt.json")
    shutil.copytree(prepared.parent / "set", folder / "data/ytvis")
    rows = ["video,class"]
    for number, name in enumerate(("cow", "dog", "cow")):
        frames = np.random.default_rng(number).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
        write_mp4(folder / f"films/{name}{number}.mp4", frames, Fraction(24))
        rows.append(f"{name}{number}.mp4,{name}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def _true_tracks(truth: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The annotated objects as results."""
    for entry in truth["annotations"]:
        if any(entry["segmentations"]):
            keys = ("video_id", "category_id", "segmentations")
            yield {**{key: entry[key] for key in keys}, "score": 0.9}


@dataclass
class Visit:
    """A page read from top to bottom in a folder of its own; dry runs wait, since several go in one."""

    folder: Path
    problems: list[str] = field(default_factory=list)
    dry_runs: list[list[str]] = field(default_factory=list)

    def block(self, block: Any) -> None:
        """Do what the block says."""
        if block.not_run is None and block.language == "yaml":
            self._settings(block)
        if block.not_run is None and block.language == "sh":
            for words in block.commands():
                problem = getattr(self, f"_{words[0]}")(words[1:])
                if problem:
                    self.problems.append(f"{block}: {' '.join(words)}: {problem}")

    def _settings(self, block: Any) -> None:
        """A file of settings is written where its title says, and checked."""
        path = self.folder / block.title
        if not block.title:
            self.problems.append(f'{block}: say which file it is: ```yaml title="mine.yaml"')
        elif block.title.startswith("profiles/"):
            path.write_text(path.read_text() + block.text)
        else:
            path.write_text(block.text)
            try:
                load_config([self.folder / "config.yaml", path])
            except WsvisError as error:
                self.problems.append(f"{block}: {error}")

    def _make(self, words: Sequence[str]) -> str:
        done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stderr if done.returncode else ""

    def _python(self, words: Sequence[str]) -> str:
        if words[0] == "-m":
            return "" if importlib.util.find_spec(words[1]) else "no such module"
        done = subprocess.run([sys.executable, *words], cwd=self.folder, capture_output=True, text=True, check=False)
        return done.stderr if done.returncode else ""

    def _wsvis(self, words: Sequence[str]) -> str:
        said = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code = main(words)
            except SystemExit as end:  # what argparse does with wrong options
                code = end.code
        return said.getvalue() if code else ""

    def _snakemake(self, words: Sequence[str]) -> str:
        self.dry_runs.append(list(words))
        return ""


@pytest.fixture(scope="module")
def visits(
    furnished: Path, tmp_path_factory: pytest.TempPathFactory, blocks_of: Callable[[Path], list[Any]]
) -> dict[Path, Visit]:
    """Every page that has something to run, visited."""
    found = {}
    for page in PAGES:
        blocks = [block for block in blocks_of(page) if block.language in ("sh", "yaml")]
        if blocks and not is_extension(page):
            folder = tmp_path_factory.mktemp(page.stem) / "wsvis"
            found[page] = Visit(Path(shutil.copytree(furnished, folder, symlinks=True)))
            for block in blocks:
                found[page].block(block)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_settings_of_a_page(page: Path, visits: dict[Path, Visit]) -> None:
    assert page not in visits or visits[page].problems == []


@pytest.mark.workflow
def test_snakemake_can_make_what_the_pages_ask_for(visits: dict[Path, Visit], furnished: Path, dry_run: Any) -> None:
    """Dry runs; commands that differ in nothing that Snakemake reads first go in one, with all their targets."""
    together: dict[tuple[Path, ...], list[list[str]]] = {}
    for visit in visits.values():
        for words in visit.dry_runs:
            own = "--configfile" in words or "--profile" in words
            together.setdefault((visit.folder if own else furnished,), []).append(words)
    assert len(together) >= 4
    for (folder,), commands in together.items():
        assert dry_run(folder, commands) == ""


WRONG = """
```yaml title="mine.yaml"
datasets: {demo: {tracking: {max_trakcs: 3}}}
```

```sh
make demoo
.venv/bin/wsvis overlay --result results/demo_vis.json
.venv/bin/wsvis check --configfile missing.yaml
.venv/bin/python -m benchmarks.missing
```
"""


def test_what_is_wrong_on_a_page_is_found(
    tmp_path: Path, furnished: Path, blocks_of: Callable[[Path], list[Any]]
) -> None:
    page = tmp_path / "wrong.md"
    page.write_text(WRONG)
    visit = Visit(Path(shutil.copytree(furnished, tmp_path / "wsvis", symlinks=True)))
    for block in blocks_of(page):
        visit.block(block)
    expected = ["did you mean 'max_tracks'?", "demoo", "--results", "missing.yaml does not exist", "no such module"]
    assert len(visit.problems) == len(expected)
    assert [words for words, problem in zip(expected, visit.problems, strict=True) if words not in problem] == []


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set-threads", "train_cams=1", "--", "results/demo_vis.json"], "no rule is named train_cams"),
        (["--cores", "2", "results/demo/flowirn/missing/round-0/frame_metrics.json"], "MissingRuleException"),
    ],
)
def test_what_is_wrong_with_a_command_of_snakemake_is_found(
    words: list[str], expected: str, furnished: Path, dry_run: Any
) -> None:
    assert expected in dry_run(furnished, [words])


def test_commands_in_running_text_exist() -> None:
    """`wsvis …` and `make …` within a sentence: the command, its options, the target."""
    (group,) = (a for a in build_parser()._actions if hasattr(a, "choices") and a.choices and a.dest == "command")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    unknown = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`(?:\.venv/bin/)?(wsvis [a-z][^`]*|make [a-z][^`]*)`", text):
            program, name, *options = code.split()
            if program == "make":
                known = name in targets
            else:
                parser = group.choices.get(name)
                wanted = {option.split("=")[0] for option in options if option.startswith("--")}
                known = parser is not None and wanted <= set(parser._option_string_actions)
            if not known:
                unknown.append(f"{page.name}: {code}")
    assert unknown == []
