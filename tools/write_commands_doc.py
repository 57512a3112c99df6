"""Write docs/commands.md from the parser of `wsvis`; a test fails when the file is out of date."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from wsvis_core.cli import build_parser

HEADER = """# Commands

Every command of `wsvis` with its options. Written by `tools/write_commands_doc.py` from the commands themselves; do not
edit by hand. `wsvis COMMAND --help` says the same. `.venv/bin/wsvis` is where `make` installs it.

Exit codes: 0 done, 2 wrong input, or problems found by `check`, 130 Ctrl-C; `status` has codes of its own. What is
wrong is said all at once.

| command | |
|---|---|
"""


def commands_markdown() -> str:
    """The whole document."""
    (group,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    summaries = {choice.dest: choice.help or "" for choice in group._choices_actions}
    rows = [f"| [`{name}`](#wsvis-{name}) | {summaries[name]} |" for name in group.choices]
    return HEADER + "\n".join(rows) + "\n" + "".join(_command(*entry) for entry in group.choices.items())


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    rows = ["| option | value | meaning |", "|---|---|---|", *map(_row, actions)]
    return "\n".join([f"\n## wsvis {name}\n", f"{_plain(parser.description or '')}\n", *rows]) + "\n"


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
    required = "**required**; " if action.required else ""
    return f"| {names} | {_value(action)} | {required}{_plain(action.help or '')} |"


def _value(action: argparse.Action) -> str:
    """What stands after the option: choices, or the name of the value; nothing for a switch."""
    if action.nargs == 0:
        return ""
    if action.choices:
        return ", ".join(f"`{choice}`" for choice in action.choices)
    name = f"`{action.metavar or action.dest.upper()}`".replace("|", "` or `")
    return f"{name}, several" if action.nargs in ("+", "*") else name


def _plain(text: str) -> str:
    """Help as Markdown: argparse writes a percent sign twice, a table would end at a bar, and pages become links."""
    shown = text.replace("%%", "%").replace("|", "\\|").replace("<", "&lt;")
    return re.sub(r"\bdocs/(\w+)\.md", r"[\1.md](\1.md)", shown)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/commands.md")
    target.write_text(commands_markdown())
