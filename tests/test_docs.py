"""The documentation says what the code does: settings are up to date, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md"))]


def settings_markdown() -> str:
    spec = importlib.util.spec_from_file_location("write_settings_doc", ROOT / "tools/write_settings_doc.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.settings_markdown()


def test_settings_page_is_up_to_date() -> None:
    written = (ROOT / "docs/settings.md").read_text()
    assert written == settings_markdown(), "docs/settings.md is out of date: run `python tools/write_settings_doc.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    relative = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in relative if not (page.parent / target).exists()] == []


def test_readme_names_every_rule_and_is_short() -> None:
    readme = (ROOT / "README.md").read_text()
    rules = re.findall(r"^rule (\w+):", "".join(p.read_text() for p in (ROOT / "rules").glob("*.smk")), re.MULTILINE)
    assert "evaluate_*" in readme
    hidden = ("generate_dataset", "publish_tracks")
    named = [rule for rule in rules if not rule.startswith("evaluate_") and rule not in hidden]
    assert [rule for rule in named if f"`{rule}`" not in readme] == []
    assert len(readme.splitlines()) <= 150
