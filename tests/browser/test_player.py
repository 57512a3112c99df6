"""The player: plays, toggles, jumps, answers keys, and copes with videos that have almost nothing."""

from __future__ import annotations

import re

import pytest

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.xdist_group("browser")
# Read from a copy: a screen that is read too often would be warned of.
PIXEL = """([x, y, k]) => {
    const screen = document.querySelectorAll('#screens canvas')[k];
    const copy = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    copy.drawImage(screen, -Math.round(x * screen.width), -Math.round(y * screen.height));
    return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


def pixel(page, x: float, y: float, screen: int = 0) -> list[int]:
    """RGB at a place of a screen, in shares of its sides."""
    return page.evaluate(PIXEL, [x, y, screen])


def counter(page) -> str:
    return page.locator("#counter").inner_text()


def wait_for_frame(page, text: str) -> None:
    expect(page.locator("#counter")).to_have_text(re.compile(rf"^{re.escape(text)}\b"))


def wait_for_words(page, text: str) -> None:
    expect(page.locator("#words")).to_contain_text(text)


def near(found: list[int], colour: tuple[int, int, int], by: int = 12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(found, colour, strict=True))


@pytest.fixture
def player(open_page):
    page = open_page("#video=3")
    wait_for_frame(page, "frame 0 (1 of 8")
    return page


def test_a_card_opens_its_video_and_closing_leaves_the_address_clean(open_page):
    page = open_page("#class=2")
    page.locator('.clip a[href="#video=7"]').click()
    wait_for_frame(page, "frame 0 (1 of 3")
    assert page.locator("#player-name").inner_text() == "weak" and page.url.endswith("#class=2&video=7&frame=0")
    page.keyboard.press("ArrowRight")
    wait_for_frame(page, "frame 15 (2 of 3")
    assert page.url.endswith("frame=15")
    page.keyboard.press("Escape")
    page.wait_for_selector("#player", state="hidden")
    assert page.url.endswith("#class=2") and page.locator(".clip:visible").count() == 2


def test_it_plays_and_the_pictures_change(player):
    # Without layers of instances the screen holds the frame's own colour: (10 t, 200 − 15 t, 90).
    player.keyboard.press("6")
    assert near(pixel(player, 0.5, 0.05), (0, 200, 90))
    player.locator("#play").click()
    assert player.locator("#play").inner_text() == "pause"
    wait_for_frame(player, "frame 4")
    player.locator("#play").click()
    player.wait_for_timeout(400)  # a picture that was on its way
    stopped = counter(player)
    t = int(stopped.split()[1])
    assert player.locator("#play").inner_text() == "play" and near(pixel(player, 0.5, 0.05), (10 * t, 200 - 15 * t, 90))
    player.wait_for_timeout(400)
    assert counter(player) == stopped and player.url.endswith(f"frame={t}")


def test_without_loop_it_stops_at_the_end_and_starts_over(player):
    player.keyboard.press("l")
    assert not player.locator("#loop").is_checked()
    player.select_option("#speed", "30")
    player.keyboard.press("Space")
    expect(player.locator("#play")).to_have_text("play")
    assert counter(player) == "frame 7 (8 of 8)"
    player.select_option("#speed", "1")
    player.keyboard.press("Space")
    wait_for_frame(player, "frame 0")
    player.keyboard.press("Space")


def test_with_loop_it_goes_round(player):
    player.keyboard.press("End")
    wait_for_frame(player, "frame 7")
    player.locator("#play").click()
    wait_for_frame(player, "frame 1")
    player.locator("#play").click()


def test_keys_move_change_layers_and_speed(player):
    for key, text in (
        ("ArrowRight", "frame 1"),
        ("End", "frame 7"),
        ("ArrowRight", "frame 7"),
        ("ArrowLeft", "frame 6"),
    ):
        player.keyboard.press(key)
        wait_for_frame(player, text)
    player.keyboard.press("Home")
    wait_for_frame(player, "frame 0")
    names = ("frame", "flow", "cam", "pseudo", "prediction", "tracks", "truth")
    before = [player.locator(f"#layer-{name}").is_checked() for name in names]
    assert before == [True, False, False, False, False, True, False]
    for key in "1234567":
        player.keyboard.press(key)
    assert [player.locator(f"#layer-{name}").is_checked() for name in names] == [not value for value in before]
    player.keyboard.press("+")
    assert player.locator("#speed").input_value() == "8"
    player.keyboard.press("-")
    player.keyboard.press("-")
    assert player.locator("#speed").input_value() == "2"
    player.locator("summary", has_text="Keys").click()
    assert "a layer on or off" in player.locator("#player dl").inner_text()


def test_space_works_a_button_that_the_keyboard_has_reached(player):
    for _ in range(20):
        player.keyboard.press("Tab")
        if player.evaluate("document.activeElement.id") == "player-next":
            break
    player.keyboard.press("Space")
    expect(player.locator("#player-name")).not_to_have_text("whole")
    assert player.locator("#play").inner_text() == "play"


def test_layers_are_painted_where_their_masks_are(player):
    # Track 1 lies at columns 2..21 and rows 8..31 of 64 × 40 pixels; the palette's first colour is violet.
    inside, outside = (12 / 64, 20 / 40), (36 / 64, 36 / 40)
    tinted, plain = pixel(player, *inside), pixel(player, *outside)
    assert tinted[2] - tinted[1] > plain[2] - plain[1] + 40 and tinted[0] > plain[0] + 20
    player.keyboard.press("6")
    expect(player.locator("#words")).not_to_contain_text("tracks")
    assert near(pixel(player, *inside), (0, 200, 90))
    player.keyboard.press("7")
    wait_for_words(player, "ground truth: 1 fox")
    edge = pixel(player, 3 / 64, 20 / 40)
    assert min(edge) > 160  # the white line of the true object
    player.keyboard.press("7")
    player.keyboard.press("3")
    wait_for_words(player, "CAM: fox")
    red, green, blue = pixel(player, *outside)
    assert blue > green + 30
    player.keyboard.press("3")
    player.keyboard.press("2")
    player.keyboard.press("1")
    wait_for_words(player, "flow: hue")
    assert max(pixel(player, *outside)) < 30  # frame 0 does not move


def test_weak_masks_are_left_out_until_they_are_asked_for(player):
    player.keyboard.press("5")
    wait_for_words(player, "1 below score 30")
    player.locator("#least").fill("0")
    expect(player.locator("#words")).not_to_contain_text("below score")
    wait_for_words(player, "prediction: fox 90, <script>")
    assert player.locator("#least-shown").inner_text() == "0"
    player.locator("#least").fill("50")
    expect(player.locator(".bar-of-track.faint")).to_have_count(2)


def test_a_video_opens_with_its_best_track_however_weak(open_page):
    page = open_page("#video=7")  # its only track has score 10
    wait_for_frame(page, "frame 0 (1 of 3")
    assert page.locator("#least-shown").inner_text() == "10"
    page.locator("#least").fill("60")
    page.keyboard.press("Escape")
    page.evaluate("location.hash = '#video=3'")
    wait_for_frame(page, "frame 0 (1 of 8")
    assert page.locator("#least-shown").inner_text() == "60"  # what was chosen stays


def test_side_by_side_there_is_a_screen_for_each_layer(player):
    player.keyboard.press("s")
    assert player.locator("#screens canvas").count() == 2
    player.keyboard.press("2")
    assert player.locator("#screens figcaption").all_inner_texts() == ["frame", "flow", "tracks"]
    expect(player.locator("#screens canvas").nth(2)).to_have_attribute("aria-label", re.compile("frame, tracks"))
    assert near(pixel(player, 12 / 64, 0.5, 0), (0, 200, 90))
    assert not near(pixel(player, 12 / 64, 0.5, 2), (0, 200, 90))
    player.keyboard.press("s")
    assert player.locator("#screens canvas").count() == 1


def test_the_timeline_names_its_tracks_and_a_click_jumps(player):
    labels = player.locator("#timeline .label")
    assert labels.all_inner_texts() == [
        "1 fox 90 · trust 80",
        "2 <script>document.title='taken'</script> 40 · trust 30",
        "1 fox",
    ]
    assert player.locator("#timeline .row").nth(1).locator(".bar-of-track").count() == 2
    line = player.locator("#timeline .line").first
    box = line.bounding_box()
    line.click(position={"x": box["width"] * 5.5 / 8, "y": 4})
    wait_for_frame(player, "frame 5")
    gap = player.locator("#timeline .line").nth(1)
    gap.click(position={"x": box["width"] * 3.5 / 8, "y": 4})
    wait_for_frame(player, "frame 3")
    here = player.locator("#timeline .here").first.evaluate("line => line.style.left")
    assert here == "37.5%"
    second = player.locator("#timeline .row").nth(1).locator(".bar-of-track").nth(1)
    assert second.get_attribute("title").endswith("frames 5 to 7")
    second.focus()
    player.keyboard.press("Enter")
    wait_for_frame(player, "frame 5")


def test_a_label_brings_its_track_forward_and_goes_to_it(open_page):
    page = open_page("#video=3&frame=3")
    wait_for_frame(page, "frame 3")
    label = page.locator("#timeline .label").nth(1)
    label.click()
    wait_for_frame(page, "frame 0")
    assert label.get_attribute("aria-pressed") == "true" and page.url.endswith("track=2")
    label.click()
    expect(page).not_to_have_url(re.compile("track="))
    page = open_page("#video=3&frame=6&track=2")
    wait_for_frame(page, "frame 6")
    assert page.locator("#timeline .label").nth(1).get_attribute("aria-pressed") == "true"


def test_a_doubtful_track_of_the_list_opens_at_its_weakest_frame(open_page):
    page = open_page("#class=2")
    # A class that was not found, a track, its weakest frame; none for the video that the page lacks.
    assert page.locator("#trust a").count() == 3
    page.locator("#trust a", has_text="whole, track 2").click()
    wait_for_frame(page, "frame 5")
    assert page.url.endswith("#class=2&video=3&frame=5&track=2")
    assert page.locator("#timeline .label").nth(1).get_attribute("aria-pressed") == "true"


def test_previous_and_next_follow_the_gallery(open_page):
    page = open_page("#sort=worst&video=3")
    wait_for_frame(page, "frame 0")
    page.keyboard.press("n")
    expect(page.locator("#player-name")).to_have_text("weak")
    page.keyboard.press("p")
    page.keyboard.press("p")
    expect(page.locator("#player-name")).to_contain_text("tall <script>")
    assert page.locator("#player-previous").is_disabled() and "video=5" in page.url


def test_one_frame_without_tracks_or_truth_is_shown_all_the_same(open_page):
    page = open_page("#video=9")
    wait_for_frame(page, "frame 0 (1 of 1")
    assert page.locator("#play").is_disabled() and page.locator("#layer-truth").is_disabled()
    assert "no tracks in this video" in page.locator("#timeline").inner_text()
    assert "ground truth" not in page.locator("#timeline").inner_text()
    page.keyboard.press("Space")
    page.keyboard.press("7")
    page.keyboard.press("ArrowRight")
    assert counter(page) == "frame 0 (1 of 1)" and max(pixel(page, 0.5, 0.5)) > 90


def test_a_video_that_the_page_lacks_is_said_to_be_lacking(open_page):
    page = open_page("#video=4&frame=2")
    assert "Video 4 is not among those on this page." in page.locator("#absent").inner_text()
    assert not page.locator("#player").is_visible()
    page.locator(".clip a").first.click()
    wait_for_frame(page, "frame 0")
    assert not page.locator("#absent").is_visible()
