"""The documentation as a site: it builds without a warning, asks no server for anything, can be searched offline."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

# One test process builds the site for all of them.
pytestmark = pytest.mark.xdist_group("docs-site")
ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "WARNING" not in done.stderr, f"`make docs` fails:\n{done.stderr}"
    return folder


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r"^ +- (?:.+: )?(\S+\.md)$", SETTINGS[SETTINGS.index("\nnav:") :], re.MULTILINE))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    for page in sorted(pages - named):
        pytest.fail(
            f"docs/{page} is not in the navigation of the site: add the line `      - {page}` to nav in mkdocs.yml"
        )


def test_the_site_has_every_page_and_all_of_them_can_be_searched(site: Path) -> None:
    index = (site / "search/search_index.js").read_text(encoding="utf-8")
    pages = [path.stem for path in (ROOT / "docs").glob("*.md")] + ["benchmarks"]
    assert [page for page in pages if not (site / f"{page}.html").exists()] == []
    assert [page for page in pages if f'"location":"{page}.html' not in index] == []


class _Page(HTMLParser):
    """What a page fetches from elsewhere, and words in which Markdown was left as it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.raw: list[str] = []
        self._code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._code += tag in ("code", "pre", "script", "style")
        link = values.get("src") or (values.get("href") if tag == "link" else None) or ""
        if re.match(r"(https?:)?//", link):
            self.foreign.append(f"{tag} {link}")

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("code", "pre", "script", "style")

    def handle_data(self, data: str) -> None:
        # A list or table that has no empty line before it, emphasis that did not close, a link that was not one.
        if not self._code and re.search(r"\n([-*] |\d+\. |\|)|\*\*|`|\]\(", data):
            self.raw.append(data.strip())


def test_pages_fetch_nothing_and_no_markdown_is_left_in_them(site: Path) -> None:
    problems = {}
    for path in sorted(site.glob("*.html")):
        page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
        if page.foreign or page.raw:
            problems[path.name] = page.foreign + page.raw
    assert problems == {}


def test_styles_fetch_nothing(site: Path) -> None:
    styles = {path.name: path.read_text(encoding="utf-8") for path in site.rglob("*.css")}
    assert len(styles) >= 3
    assert [name for name, text in styles.items() if re.search(r"(url\(|@import )[\"']?(https?:)?//", text)] == []


def test_links_to_headings_work_on_github_too() -> None:
    """MkDocs checks anchors as the site has them; GitHub makes them from the heading's words."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks/README.md"]
    wrong = []
    for page in pages:
        for path, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
            target = (page.parent / path).resolve() if path else page
            if anchor not in _github_anchors(target):
                wrong.append(f"{page.relative_to(ROOT)}: {path}#{anchor}")
    assert wrong == []


def _github_anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in headings]
    return {word.replace(" ", "-") for word in words}


def test_it_works_from_a_disk_in_a_browser(site: Path, chromium) -> None:
    """Opened as a file in Chromium: no error, no request beyond the folder, and search finds a page by a word in it."""
    errors: list[str] = []
    requests: list[str] = []
    page = chromium.new_page()
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.locator("input.md-search__input").click()
    page.keyboard.type("ratchet")
    found = page.locator("a.md-search-result__link").first
    found.wait_for(timeout=20_000)
    target = found.get_attribute("href")
    page.close()
    assert errors == [] and target is not None and "maskconsist.html" in target
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
