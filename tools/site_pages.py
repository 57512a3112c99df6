"""A hook of MkDocs: what reads well on GitHub, as the site wants it. Pages that lie elsewhere, links, numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# Page of the site: its file in the repository.
ELSEWHERE = {"benchmarks.md": "benchmarks/README.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie elsewhere."""
    for page, path in ELSEWHERE.items():
        content = (ROOT / path).read_text(encoding="utf-8").replace("](../docs/", "](")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, files: Files, **_: Any) -> str:
    """A page with links to the site's pages, called by their names, and numbers kept in one line with their errors."""
    for page, path in ELSEWHERE.items():
        markdown = re.sub(rf"\[[^\]]*{path}\]\(\.\./{path}", f"[{page}]({page}", markdown)
        markdown = markdown.replace(f"](../{path}", f"]({page}")
    markdown = re.sub(r"(?<=\d) ± (?=\d)", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", markdown)
    return re.sub(r"\[(?:docs/)?(\w+\.md)\]\(\1", lambda link: f"[{_name(files, link[1])}]({link[1]}", markdown)


def _name(files: Files, page: str) -> str:
    """What a page is called: its heading, up to a colon or comma; the file's name if there is no such page."""
    file = files.get_file_from_path(page)
    heading = re.match(r"# ([^:,\n]+)", file.content_string) if file else None
    return heading[1] if heading else page
