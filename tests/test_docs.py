"""The documentation says what the code does: settings are up to date, links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md"))]


def tool(name: str) -> ModuleType:
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["settings", "commands"])
def test_written_pages_are_up_to_date(page: str) -> None:
    name = f"write_{page}_doc"
    written = getattr(tool(name), f"{page}_markdown")()
    assert (ROOT / f"docs/{page}.md").read_text() == written, (
        f"docs/{page}.md is out of date: run `.venv/bin/python tools/{name}.py`"
    )


def test_every_setting_and_every_option_says_what_it_means() -> None:
    """The last cell of a row of the written pages is its meaning."""
    rows = [line for page in ("settings", "commands") for line in (ROOT / f"docs/{page}.md").read_text().splitlines()]
    assert [row for row in rows if row.startswith("| `") and row.split("|")[-2].strip() in ("", "**required**;")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    relative = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in relative if not (page.parent / target).exists()] == []


def definitions(path: Path) -> dict[str, str]:
    """Docstrings of a module's functions and classes, by name; for methods, that of the last with the name."""
    nodes = ast.walk(ast.parse(path.read_text()))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name: ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds)}


def test_functions_of_the_method_exist_and_name_their_equation() -> None:
    """The tables of "Equations and functions"."""
    text = (ROOT / "docs/method.md").read_text()
    table = text[text.index("## Equations and functions") : text.index("## 0. Conventions")]
    rows = re.findall(r"^\| ((?:Eq\.|Alg\.|§)[^|]*?) \|.*\| ([^|]+) \|$", table, re.MULTILINE)
    wrong = []
    for label, cell in rows:
        for file, name in re.findall(r"`([\w/]+\.py):(\w+)`", cell):
            docstring = definitions(ROOT / "wsvis_core" / file).get(name)
            if docstring is None or not re.search(rf"{re.escape(label)}(?!\d|\.\d)", docstring):
                wrong.append(f"{label}: {file}:{name}: {'no such function' if docstring is None else docstring}")
    assert wrong == []
    assert {label for label, _ in rows} >= {"Eq. 1", "Eq. 2", "Eq. 3", "Alg. 1"} and len(rows) >= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_that_pages_name_is_there(page: Path) -> None:
    """`room/file.py` and `room/file.py:function`, seen from the package or from the root."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    wrong = []
    for file, name in re.findall(r"`([\w/]+\.py)(?::(\w+))?`", text):
        found = [root / file for root in (ROOT / "wsvis_core", ROOT, page.parent) if (root / file).exists()]
        # Pages that add a part name the file that they make.
        made = f'title="wsvis_core/{file.removeprefix("wsvis_core/")}"' in page.read_text()
        if not made and (not found or (name and name not in definitions(found[0]))):
            wrong.append(f"{file}:{name}")
    assert wrong == []


def test_readme_names_every_rule_and_is_short() -> None:
    readme = (ROOT / "README.md").read_text()
    rules = re.findall(r"^rule (\w+):", "".join(p.read_text() for p in (ROOT / "rules").glob("*.smk")), re.MULTILINE)
    assert "evaluate_*" in readme
    hidden = ("generate_dataset", "publish_tracks", "publish_quality")
    named = [rule for rule in rules if not rule.startswith("evaluate_") and rule not in hidden]
    assert [rule for rule in named if f"`{rule}`" not in readme] == []
    assert len(readme.splitlines()) <= 150
