"""The page's files: shipped with the package, safe to inline, colours that charts outside the page can use."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from wsvis_core.visualization.assets import (
    EARLY_SCRIPTS,
    LATE_SCRIPTS,
    STYLES,
    WAY_STYLES,
    WEB,
    content_policy,
    light_colours,
    script,
    stylesheet,
)
from wsvis_core.visualization.versions import code_version

ROOT = Path(__file__).resolve().parents[2]


def test_every_file_of_the_folder_is_on_the_page_and_in_the_package():
    assert {path.name for path in WEB.iterdir()} == {*STYLES, *WAY_STYLES, *EARLY_SCRIPTS, *LATE_SCRIPTS, "player.html"}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-data"]["wsvis_core.visualization"] == ["web/*"]


def test_nothing_in_them_ends_its_element_or_asks_for_anything_from_outside():
    for text in (stylesheet(), script(EARLY_SCRIPTS), script(LATE_SCRIPTS)):
        assert "</" not in text and "<!--" not in text
        assert re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|innerHTML|eval\(", text) is None


def test_every_colour_variable_that_is_used_is_there():
    text = stylesheet()
    inline = {"--dot", "--share", "--views"}  # set where they are used
    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= set(re.findall(r"(--[\w-]+):", text)) | inline
    colours = light_colours()
    assert colours["--paper"] == "#f5f6f7" and colours["--series-8"] == "#545d66" and colours["--edge"] == "#f2ac36"


def test_the_policy_names_a_digest_for_each_script():
    assert content_policy("a", "b").count("'sha256-") == 2 and "connect-src" not in content_policy("a")


def test_the_commit_is_that_of_the_folder_with_a_mark_for_changes(tmp_path):
    assert code_version(tmp_path) == "unknown commit"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert code_version(tmp_path) == "unknown commit"
    (tmp_path / "file").write_text("a")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-qm", "a"], check=True)
    clean = code_version(tmp_path)
    assert re.fullmatch("commit [0-9a-f]{10}", clean)
    (tmp_path / "file").write_text("b")
    assert code_version(tmp_path) == clean + "+"
