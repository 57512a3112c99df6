"""A hook of MkDocs: pages of the site that do not lie in docs/, and links to them as GitHub wants them."""

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
        files.append(File.generated(config, page, content=_links_within((ROOT / path).read_text(encoding="utf-8"))))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page of docs/ with its links to `../benchmarks/README.md` and the like leading to the site's pages."""
    for page, path in ELSEWHERE.items():
        markdown = markdown.replace(f"](../{path}", f"]({page}")
    return markdown


def _links_within(markdown: str) -> str:
    """A page from elsewhere with its links `../docs/page.md` as seen from the site."""
    return re.sub(r"\]\(\.\./docs/", "](", markdown)
