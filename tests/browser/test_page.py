"""The page as a whole: nothing missing, nothing asked for, readable for everyone, at every width."""

from __future__ import annotations

import pytest

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.xdist_group("browser")
HARD = ("serious", "critical")


def test_it_loads_without_a_word_and_a_name_cannot_become_a_script(open_page):
    page = open_page()
    assert page.title() == "wsvis · browser" and page.locator("main > section").count() == 9
    assert page.locator("h1").inner_text() == "wsvis · browser"
    sizes = page.locator("img").evaluate_all("pictures => pictures.map(p => [p.complete, p.naturalWidth])")
    page.locator("#transfers img").first.scroll_into_view_if_needed()
    assert len(sizes) > 8
    broken = "pictures => Promise.all(pictures.map(p => p.decode().then(() => null, () => p.alt)))"
    page.locator("img").evaluate_all("pictures => pictures.forEach(p => p.loading = 'eager')")
    assert set(page.locator("img").evaluate_all(broken)) == {None}


def test_the_contents_lead_to_every_section_and_follow_the_reader(open_page):
    page = open_page()
    assert page.locator(".contents a").count() == 9
    page.locator(".contents a", has_text="Training").click()
    assert page.url.endswith("#training")
    expect(page.locator('.contents a[href="#training"]')).to_have_attribute("aria-current", "true")
    assert page.locator("#training h2").bounding_box()["y"] < 400


def test_the_first_key_leads_past_the_contents(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert skip.evaluate("link => link === document.activeElement") and skip.bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def paper(page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_theme_follows_the_system_until_the_reader_says_otherwise(open_page):
    page = open_page()
    light, button = paper(page), page.locator("#theme")
    page.emulate_media(color_scheme="dark")
    dark = paper(page)
    assert light != dark and button.inner_text() == "theme: system"
    button.click()
    assert (button.inner_text(), paper(page)) == ("theme: light", light)
    button.click()
    page.emulate_media(color_scheme="light")
    assert (button.inner_text(), paper(page)) == ("theme: dark", dark)
    for _ in range(20):  # a browser writes down what a page stores in its own time
        page.reload()
        if page.locator("#theme").inner_text() == "theme: dark":
            break
        page.wait_for_timeout(100)
    assert (page.locator("#theme").inner_text(), paper(page)) == ("theme: dark", dark)
    page.locator("#theme").click()
    assert (page.locator("#theme").inner_text(), paper(page)) == ("theme: system", light)


@pytest.mark.parametrize("address", ["", "#video=3", "#video=5"])
@pytest.mark.parametrize("width", [390, 768, 1400])
def test_nothing_scrolls_sideways_but_tables_in_their_own_frame(open_page, width, address):
    page = open_page(address, width=width, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dialog = "(d => d.scrollWidth - d.clientWidth)(document.getElementById('player'))"
    assert page.evaluate(dialog) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("address", ["", "#video=3&frame=1", "#name=zzz"])
def test_axe_finds_nothing_serious(open_page, scheme, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(address, scheme=scheme)
    expect(page.locator("canvas")).to_have_count(1 if "video" in address else 0)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    found = axe.run(page).response["violations"]
    told = [
        (f["id"], node["html"][:160], node.get("failureSummary"))
        for f in found
        for node in f["nodes"]
        if f["impact"] in HARD
    ]
    assert told == []


def test_without_scripts_the_page_still_shows_its_numbers_and_cards(chromium, report_page):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report_page.as_uri())
    assert "need JavaScript" in page.locator("noscript").inner_text()
    assert page.locator(".clip").count() == 4 and not page.locator("#filters").is_visible()
    assert not page.locator("#theme").is_visible() and "45.0" in page.locator(".cards").inner_text()
    context.close()
