"""The gallery's filters and orders, and the address that keeps them."""

from __future__ import annotations

import pytest

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.xdist_group("browser")


def shown(page) -> list[int]:
    return page.locator(".clip:visible").evaluate_all("cards => cards.map(card => Number(card.dataset.video))")


def count(page) -> str:
    return page.locator("#shown").inner_text()


def test_all_are_shown_at_first_in_the_order_of_the_data_set(open_page):
    page = open_page()
    assert shown(page) == [3, 5, 7, 9] and count(page) == "4 of 4 videos shown"
    assert "#" not in page.url and not page.locator("#nothing").is_visible()
    assert "On this page: 4 of 40 held-out videos" in page.locator("#videos").inner_text()


def test_class_score_and_name_filter_and_stand_in_the_address(open_page):
    page = open_page()
    page.select_option("[name=class]", "2")
    assert shown(page) == [5, 7] and page.url.endswith("#class=2")
    page.fill("[name=min]", "50")
    assert shown(page) == [5] and page.url.endswith("#class=2&min=50")
    page.select_option("[name=class]", "")
    assert shown(page) == [3, 5] and count(page) == "2 of 4 videos shown"
    page.fill("[name=min]", "0")
    page.fill("[name=max]", "20")
    assert shown(page) == [7] and page.url.endswith("#max=20")
    page.fill("[name=max]", "100")
    page.fill("[name=name]", "WHO")
    assert shown(page) == [3] and page.url.endswith("#name=WHO")


def test_nothing_matches_and_one_button_brings_all_back(open_page):
    page = open_page("#name=zzz&class=1")
    assert shown(page) == [] and count(page) == "0 of 4 videos shown"
    assert "No video matches these filters." in page.locator("#nothing").inner_text()
    page.locator("#nothing button").click()
    assert shown(page) == [3, 5, 7, 9] and not page.locator("#nothing").is_visible()
    assert page.locator("[name=name]").input_value() == "" and "name=" not in page.url


def test_orders_with_videos_of_unknown_quality_last(open_page):
    page = open_page()
    page.select_option("[name=sort]", "best")
    assert shown(page) == [7, 3, 5, 9]
    page.select_option("[name=sort]", "worst")
    assert shown(page) == [5, 3, 7, 9] and page.url.endswith("#sort=worst")
    page.select_option("[name=sort]", "trust")
    assert shown(page)[0] == 3
    page.select_option("[name=sort]", "given")
    assert shown(page) == [3, 5, 7, 9] and "sort" not in page.url


def test_a_random_order_is_that_of_its_seed(open_page):
    page = open_page()
    assert not page.locator("#random").is_visible()
    page.select_option("[name=sort]", "random")
    first, orders = shown(page), set()
    assert page.locator("#random").is_visible()
    for _ in range(8):
        page.locator("#draw").click()
        orders.add(tuple(shown(page)))
    assert len(orders) > 2 and all(sorted(order) == [3, 5, 7, 9] for order in orders)
    assert page.url.endswith("#sort=random&seed=9")
    again = open_page("#sort=random&seed=9")
    assert shown(again) == shown(page)
    page.fill("[name=seed]", "1")
    assert shown(page) == first


def test_an_address_sets_the_filters_and_an_unknown_one_none(open_page):
    page = open_page("#class=2&min=50&sort=worst")
    assert shown(page) == [5] and page.locator("[name=sort]").input_value() == "worst"
    page = open_page("#class=77&sort=sideways&unknown=1")
    assert shown(page) == [3, 5, 7, 9] and page.locator("[name=class]").input_value() == ""
    page.evaluate("location.hash = '#class=1'")
    expect(page.locator("#shown")).to_have_text("1 of 4 videos shown")
    assert shown(page) == [3]


def test_reading_a_section_keeps_the_filters(open_page):
    page = open_page()
    page.select_option("[name=class]", "1")
    page.locator(".contents a", has_text="Run").click()
    assert page.url.endswith("#run") and shown(page) == [3]
