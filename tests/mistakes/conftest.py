"""A folder in which mistakes are made, and what is then on the screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.logs import fresh_logging
from tests.mistakes.table import ROOT, SETTINGS
from tests.terminal import Terminal, on_terminal
from wsvis_core.cli import main
from wsvis_core.job import job
from wsvis_core.training import device


@dataclass
class Shell:
    """What the user types, or what Snakemake starts: its exit code and its words are kept."""

    capsys: pytest.CaptureFixture
    monkeypatch: pytest.MonkeyPatch
    small_disk: Callable[[], Any]
    code: int | str | None = None
    said: str = ""

    def wsvis(self, *arguments: str) -> None:
        """The `wsvis` command, in this process."""
        try:
            self.code = main(list(arguments))
        except SystemExit as ended:
            self.code = ended.code
        self._listen()

    def job(self, work: Callable[[], Any], *, gpus: int = 0, log: str = "logs/job.log") -> None:
        """A job's script, in this process."""
        try:
            with fresh_logging(), job(log, threads=1, resources=SimpleNamespace(gpu=gpus)):
                work()
            self.code = 0
        except SystemExit as ended:
            self.code = ended.code
        self._listen()

    def command(self, words: Sequence[str], *, environment: dict[str, str] | None = None) -> None:
        """Another program."""
        done = subprocess.run(
            words, env=environment or dict(os.environ), capture_output=True, text=True, check=False, timeout=300
        )
        self.code, self.said = done.returncode, done.stdout + done.stderr

    def snakemake(self, *arguments: str, snakefile: bool = True, cores: bool = True) -> None:
        """Snakemake into a file, with the settings of this folder."""
        self.code, said = self._snakemake(arguments, snakefile, cores)
        self.said = _after_the_plan(said)

    def terminal(self, *arguments: str, act: Callable[[int, str], bool] | None = None) -> None:
        """Snakemake on a terminal: what is on the screen when it has ended."""
        self.code, written = on_terminal(self._command(arguments, True, True), dict(os.environ), act=act)
        screen = Terminal(columns=1000)  # lines as they were written; the test counts rows
        screen.feed(written.replace("\r\n", "\n"))
        self.said = _after_the_plan("\n".join(screen.rows))

    def _snakemake(self, arguments: Sequence[str], snakefile: bool, cores: bool) -> tuple[int, str]:
        command = self._command(arguments, snakefile, cores)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        return done.returncode, done.stdout + done.stderr

    def _command(self, arguments: Sequence[str], snakefile: bool, cores: bool) -> list[str]:
        command = [sys.executable, "-m", "snakemake", *(["--cores", "1"] if cores else [])]
        if snakefile:
            command += ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml"]
        return [*command, *arguments]

    def environment(self, name: str, value: str) -> None:
        self.monkeypatch.setenv(name, value)

    @contextlib.contextmanager
    def held_by_another(self, path: str) -> Iterator[None]:
        """Meanwhile the job with this log is somebody else's."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            yield

    def read_only_folder(self, name: str) -> str:
        """A path where nobody may write, not even root."""
        if not Path("/sys/kernel").is_dir():
            pytest.skip("nobody may write in /sys, which this machine does not have")
        return f"/sys/{name}"

    def _listen(self) -> None:
        printed = self.capsys.readouterr()
        self.said = printed.out + printed.err


def _after_the_plan(said: str) -> str:
    """Without what Snakemake says of every run: its header and the table of jobs."""
    return re.split(r"^(?:Building DAG of jobs\.\.\.|total +\d+ *)$", said, flags=re.MULTILINE)[-1].strip("\n")


@pytest.fixture
def shell(
    prepared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Shell:
    """In an empty folder but for a good config.yaml and the data set `mine`."""
    shutil.copytree(prepared.parent / "set", tmp_path / "set")
    (tmp_path / "config.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WSVIS_DEVICE", "cpu")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in [name for name in os.environ if name.startswith(("SNAKEMAKE_", "COV_", "COVERAGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(device, "_CLAIMS", [])
    return Shell(capsys, monkeypatch, lambda: request.getfixturevalue("small_disk"))
