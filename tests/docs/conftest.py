"""The code blocks of the documentation, and what is said of the commands in them."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- not run: (.+?) -->\n\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, the file it is to become, and why it is not run if it is not."""

    page: str
    line: int
    language: str
    title: str
    text: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[list[str]]:
        """The words of every command of a shell block, without comments; programs by their bare names."""
        lines = self.text.replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True) for line in lines]
        return [[line[0].removeprefix(".venv/bin/"), *line[1:]] for line in words if line]


def read_blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in FENCE.finditer(text):
        mark = MARK.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 1
        name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
        found.append(Block(name, line, match[1], match[2] or "", match[3], mark and mark[1]))
    return found


@pytest.fixture(scope="session")
def pages() -> list[Path]:
    """README, the pages of docs/, and that of the benchmarks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks/README.md"]


@pytest.fixture(scope="session")
def blocks_of() -> Callable[[Path], list[Block]]:
    return read_blocks


@pytest.fixture(scope="session")
def dry_run() -> Callable[[Path, Sequence[Sequence[str]]], str]:
    """Dry-runs several commands of Snakemake as one; what is wrong with them, else ""."""
    return _dry_run


def _dry_run(folder: Path, commands: Sequence[Sequence[str]]) -> str:
    """Each command is read by Snakemake's own parser; then one dry run has all their options and targets."""
    from snakemake.cli import parse_args

    source = "".join(path.read_text() for path in (folder / "rules").glob("*.smk"))
    rules = set(re.findall(r"^rule (\w+):", source, re.MULTILINE))
    files: list[str] = []
    options: list[str] = []
    targets: list[str] = []
    for words in commands:
        with contextlib.chdir(folder):
            _, read = parse_args(list(words))
        unknown = {*read.set_threads, *read.set_resources} - rules
        if unknown:
            return f"{' '.join(words)}: no rule is named {', '.join(sorted(unknown))}"
        own = [str(path) for path in read.configfile or ()]
        files += own
        targets += read.targets
        options += [word for word in words if word not in (*read.targets, *own, "--", "--configfile", "--dry-run")]
    configured = ["--configfile", *dict.fromkeys(files)] if files else []
    command = [sys.executable, "-m", "snakemake", *options, "--dry-run", *configured, "--", *dict.fromkeys(targets)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    missing = [target for target in targets if target not in done.stdout]
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return f"{' '.join(command)}\n{said}\nnot planned: {missing}" if done.returncode or missing else ""
