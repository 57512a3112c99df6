"""The page's stylesheet, scripts and player, which are real files in the folder `web`."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

WEB = Path(__file__).parent / "web"
STYLES = ("colours.css", "type.css", "figures.css", "sheets.css", "videos.css")
WAY_STYLES = ("way.css",)  # of a page with the section "From label to track"
EARLY_SCRIPTS = ("theme.js",)  # before anything is drawn
LATE_SCRIPTS = ("masks.js", "paint.js", "player.js", "gallery.js", "start.js")


@cache
def web_file(name: str) -> str:
    """The text of a file of the page."""
    return (WEB / name).read_text(encoding="utf-8")


def stylesheet(more: tuple[str, ...] = ()) -> str:
    """All rules of the page, and those of some files more."""
    return "".join(map(web_file, (*STYLES, *more)))


def script(names: tuple[str, ...]) -> str:
    """Some scripts as one, whose names are its own."""
    return '(function () {\n"use strict";\n' + "".join(map(web_file, names)) + "})();\n"


def content_policy(*scripts: str) -> str:
    """The page's Content-Security-Policy: nothing from outside, no script but these, pictures from the page itself."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'"


def light_colours() -> dict[str, str]:
    """The page's colours by daylight: CSS variable → #rrggbb."""
    found = re.findall(r"(--[\w-]+): (?:light-dark\()?(#\w+)", web_file("colours.css"))
    return dict(found)
