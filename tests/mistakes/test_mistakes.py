"""Every mistake of the table is made; what the user then sees fits one screen and says what, where and what to do."""

from __future__ import annotations

import pytest

from tests.mistakes.table import PAGE, TABLE, Mistake, page_markdown

ROWS, COLUMNS = 24, 100


def rows_of(text: str) -> int:
    """Rows of a terminal of 100 columns."""
    return sum(max(-(-len(line) // COLUMNS), 1) for line in text.rstrip("\n").split("\n"))


def cases() -> list:
    """Those that start Snakemake carry its mark."""
    marks = {True: [pytest.mark.workflow, pytest.mark.xdist_group("workflow-run")], False: []}
    return [pytest.param(mistake, id=mistake.id, marks=marks[mistake.snakemake]) for mistake in TABLE]


@pytest.mark.parametrize("mistake", cases())
def test_one_screen_says_what_is_wrong(mistake: Mistake, shell) -> None:
    mistake.provoke(shell)
    print(f"@@ {mistake.id} [{shell.code}]\n{shell.said}")
    assert (shell.code == 0) == mistake.goes_on, shell.said
    assert [words for words in mistake.says if words not in shell.said] == [], shell.said
    assert "Traceback" not in shell.said
    assert rows_of(shell.said) <= ROWS, shell.said


def test_the_page_is_that_of_the_table() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == page_markdown(), "docs/mistakes.md is out of date: run `python tests/mistakes/table.py`"


def test_the_table_has_every_kind_and_no_mistake_twice() -> None:
    assert len(TABLE) >= 30 and len({mistake.id for mistake in TABLE}) == len(TABLE)
    assert len({mistake.group for mistake in TABLE}) == 5
