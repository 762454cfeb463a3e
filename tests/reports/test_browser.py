"""A report in Chromium: it loads, counts, filters and is operated without a mouse; texts of videos stay texts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from tests.reports.conftest import asking
from tests.support import chromium, many_clips
from tests.support.chromium import PHONE, WIDE, Opened

pytestmark = pytest.mark.report

MOVE = """([panel, stop]) => {
  const slider = document.querySelectorAll('.score')[panel].querySelector('input[type=range]');
  slider.value = stop;
  slider.dispatchEvent(new Event('input'));
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
PANEL = """(panel) => {
  const root = document.querySelectorAll('.score')[panel];
  const text = (name) => root.querySelector(`.${name}`).textContent;
  return {...root.dataset, alone: text('alone'), together: text('together'), set: text('set')};
}"""
TIMED = f"""async (at) => {{
  const began = performance.now();
  await ({MOVE})(at);
  return performance.now() - began;
}}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests."""
    with chromium.browser() as running:
        yield running


@pytest.fixture(scope="module")
def report(library: Path) -> str:
    """The address of the report of some hundred clips."""
    assert cli.main(["report", "-o", str(library)]) == 0
    return (library / "report.html").as_uri()


@pytest.fixture
def page(browser: Any, report: str) -> Iterator[Opened]:
    """That report, open."""
    with chromium.opened(browser, report) as found:
        yield found
        assert found.complaints == []


def shown(page: Opened) -> int:
    """How many clips the filters leave."""
    return int(page.page.locator("#shown").get_attribute("data-clips") or "")


def settle(page: Opened) -> None:
    """Wait until the page has drawn what was asked for."""
    page.page.wait_for_timeout(250)


def choose(page: Opened, **values: str) -> None:
    """Set filters by their ids."""
    for name, value in values.items():
        field = page.page.locator(f"#{name}")
        if field.evaluate("(e) => e.localName") == "select":
            field.select_option(value)
        else:
            field.fill(value)
            field.blur()  # else the page waits for more digits
        settle(page)


def counted(output: Path, query: str) -> int:
    """The number that a query gives."""
    [(number,)] = asking(output)(query)
    return int(number)


def test_it_asks_for_nothing_but_its_previews(page: Opened, library: Path) -> None:
    page.page.locator("#sheet").scroll_into_view_if_needed()
    settle(page)
    first, *others = page.requests
    assert first == (library / "report.html").as_uri()
    assert len(others) > 5
    assert all(address.startswith((library / "media/previews").as_uri()) for address in others)
    sizes = page.page.locator("#sheet img:visible").evaluate_all("(all) => all.map((one) => one.naturalWidth)")
    assert sizes.count(426) > 5


@pytest.mark.parametrize("panel", range(7))
def test_a_moved_threshold_counts_as_sql_does(page: Opened, library: Path, panel: int) -> None:
    ask = asking(library)
    last = int(page.page.locator(".score").nth(panel).locator("input[type=range]").get_attribute("max") or "")
    for stop in (0, last // 3, last // 2, last - 1, last):
        page.page.evaluate(MOVE, [panel, stop])
        found = page.page.evaluate(PANEL, panel)
        for which in ("alone", "together"):
            [(clips, hours)] = ask(found[which])
            assert int(found[f"{which}Clips"]) == clips, (which, stop)
            assert float(found[f"{which}Seconds"]) == pytest.approx((hours or 0) * 3600), (which, stop)


def test_all_moved_thresholds_together_keep_what_filter_would(page: Opened, library: Path) -> None:
    for panel, stop in ((0, 30), (2, 60), (4, 90)):
        page.page.evaluate(MOVE, [panel, stop])
    options = page.page.locator("#outcome-set").text_content() or ""
    assert "--set filter.blur_threshold=" in options
    [(clips, hours)] = asking(library)(page.page.evaluate(PANEL, 4)["together"])
    outcome = page.page.locator("#outcome-text")
    assert outcome.get_attribute("data-clips") == str(clips)
    assert float(outcome.get_attribute("data-seconds") or "") == pytest.approx(hours * 3600)
    assert cli.parse(["filter", "-o", "out", *options.split()]).set
    page.page.locator("#reset").click()
    settle(page)
    kept = counted(library, "SELECT count(*) FROM verdicts WHERE kept")
    assert outcome.get_attribute("data-clips") == str(kept)
    assert page.page.locator("#outcome-set-line").is_hidden()


def test_a_gate_that_is_off_keeps_everything(page: Opened) -> None:
    panel = page.page.locator(".score", has_text="share of black frames")
    before = int(page.page.locator("#outcome-text").get_attribute("data-clips") or "")
    panel.locator("input[type=checkbox]").uncheck()
    settle(page)
    assert int(page.page.locator("#outcome-text").get_attribute("data-clips") or "") > before
    assert panel.locator(".set").text_content() == "--set filter.black=false"


def test_clips_are_found_by_text_reason_and_score(page: Opened, library: Path) -> None:
    assert shown(page) == 700
    choose(page, text="Dogs NEAR")
    assert shown(page) == counted(library, "SELECT count(*) FROM verdicts WHERE caption LIKE '%dogs near%'") > 0
    choose(page, text="00003.mp4")
    assert shown(page) == 50
    choose(page, text="", reason="blurred")
    blurred = "SELECT count(*) FROM verdicts WHERE array_contains(reasons, 'blurred')"
    assert shown(page) == counted(library, blurred) > 0
    choose(page, reason="", verdict="dropped", score="distance", least="0.1", most="0.15")
    far = "SELECT count(*) FROM verdicts WHERE NOT kept AND 1 - similarity BETWEEN 0.1 AND 0.15"
    assert shown(page) == counted(library, far) > 0
    page.page.locator("#filters button[type=reset]").click()
    settle(page)
    assert shown(page) == 700


def address_of_first(output: Path, order: str) -> str:
    """What the first card in an order says of its clip's place."""
    [(uri, start)] = asking(output)(f"SELECT video_uri, start_s FROM verdicts ORDER BY {order} LIMIT 1")
    return f"{uri.rpartition('/')[2]}, {start:.1f} s"


def test_clips_are_sorted_by_a_score(page: Opened, library: Path) -> None:
    choose(page, sort="sharpness")
    page.page.locator("#descending").check()
    settle(page)
    first = page.page.locator("#sheet .card .address").first.text_content()
    assert first == address_of_first(library, "blur DESC")


def test_clips_are_sorted_by_their_length(page: Opened, library: Path) -> None:
    choose(page, sort="length")
    first = page.page.locator("#sheet .card .address").first.text_content()
    assert first == address_of_first(library, "duration_s")


def test_clips_are_rows_of_a_table_too(page: Opened) -> None:
    choose(page, view="table")
    rows = page.page.locator("#sheet tbody tr[data-place]")
    assert rows.count() < 60
    assert page.page.locator("#sheet table").get_attribute("aria-rowcount") == "701"
    page.page.locator("#sheet table").press("End")
    settle(page)
    assert page.page.locator("#sheet tr.active").get_attribute("aria-rowindex") == "701"
    assert rows.last.get_attribute("data-place") == "699"
    page.picture("table", "#clips")


def test_moved_thresholds_show_their_clips(page: Opened) -> None:
    page.page.evaluate(MOVE, [2, 0])
    choose(page, verdict="lost")
    assert shown(page) > 0
    page.page.locator("#reset").click()
    settle(page)
    assert shown(page) == 0


def test_a_reason_leads_to_its_clips(page: Opened, library: Path) -> None:
    page.page.get_by_role("button", name="duplicate", exact=True).click()
    settle(page)
    assert shown(page) == counted(library, "SELECT count(*) FROM verdicts WHERE array_contains(reasons, 'duplicate')")


def test_everything_is_reached_by_keyboard(page: Opened) -> None:
    keyboard = page.page.keyboard
    keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.className") == "skip"
    slider = page.page.locator(".score input[type=range]").first
    slider.focus()
    before = slider.get_attribute("aria-valuetext")
    keyboard.press("ArrowRight")
    settle(page)
    assert slider.get_attribute("aria-valuetext") != before
    page.page.locator("#sheet .cards").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        keyboard.press(key)
    columns = page.page.evaluate("Math.max(2, Math.floor(document.querySelector('#sheet').clientWidth / 212))")
    assert page.page.locator("#sheet .card.active").get_attribute("aria-posinset") == str(columns + 1)
    keyboard.press("Enter")
    assert page.page.locator("dialog").is_visible()
    assert "Clip " in (page.page.locator("#clip-title").text_content() or "")
    page.picture("clip")
    keyboard.press("Escape")
    assert page.page.locator("dialog").is_hidden()
    page.complaints.clear()  # the clip's file is not there


def test_sql_is_copied(browser: Any, report: str) -> None:
    with chromium.opened(browser, report, permissions=["clipboard-read", "clipboard-write"]) as page:
        panel = page.page.locator(".score").first
        panel.locator("summary").click()
        panel.locator(".copyable button").first.click()
        assert page.page.evaluate("navigator.clipboard.readText()") == panel.locator(".alone").text_content()


def test_previews_stand_still_where_less_motion_is_asked_for(browser: Any, report: str) -> None:
    with chromium.opened(browser, report, reduced_motion="reduce") as page:
        page.page.locator("#sheet").scroll_into_view_if_needed()
        page.page.wait_for_selector("#sheet canvas")
        assert page.page.locator("#sheet img:visible").count() == 0
        page.page.locator("#moving").check()
        settle(page)
        assert page.page.locator("#sheet img:visible").count() > 5
        assert page.page.locator("#sheet canvas").count() == 0


@pytest.mark.parametrize("colors", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_is_accessible(browser: Any, report: str, colors: Any, size: tuple[int, int]) -> None:
    with chromium.opened(browser, report, size, colors) as page:
        assert page.violations() == []
        assert page.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        name = f"{colors}-{'phone' if size == PHONE else 'wide'}"
        page.picture(name)
        for section in ("scores", "duplicates", "clips", "run"):
            page.picture(f"{name}-{section}", f"#{section}")
        choose(page, view="table")
        assert page.violations() == []
        page.page.locator("#sheet tbody tr[data-place]").first.click()
        assert page.violations() == []


def test_colors_change_with_the_choice(page: Opened) -> None:
    def background() -> str:
        return str(page.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert background() == "rgb(255, 255, 255)"
    choose(page, theme="dark")
    assert background() == "rgb(20, 23, 26)"
    assert page.page.locator(".chart canvas").count() == 7


def test_texts_of_videos_are_inert(browser: Any, tmp_path: Path) -> None:
    output = many_clips.write(tmp_path / "out", 140, hostile=True, num_previews=30)
    assert cli.main(["report", "-o", str(output)]) == 0
    with chromium.opened(browser, (output / "report.html").as_uri()) as page:
        page.page.locator("#clips").scroll_into_view_if_needed()
        choose(page, view="table")
        choose(page, view="grid", text="onerror")
        assert "<img src=x onerror=" in (page.page.locator("#sheet .card .caption").first.text_content() or "")
        page.page.locator("#sheet .card").first.click()
        settle(page)
        page.picture("hostile")
        assert page.page.evaluate("document.body.dataset.hacked") is None
        own = page.page.locator("#duplicates img, #sheet img, #clip img")
        assert page.page.locator("img").count() == own.count()
        assert [line for line in page.complaints if "ERR_FILE_NOT_FOUND" not in line] == []


def test_previews_can_be_part_of_the_page(browser: Any, library: Path, tmp_path: Path) -> None:
    page_file = tmp_path / "mailed.html"
    assert cli.main(["report", "-o", str(library), "--to", str(page_file), "--embed", "30"]) == 0
    with chromium.opened(browser, page_file.as_uri()) as page:
        sources = page.page.locator("#duplicates img").evaluate_all("(all) => all.map((one) => one.src.slice(0, 15))")
        assert sources.count("data:image/webp") > 10


def test_five_thousand_clips_scroll_smoothly(browser: Any, tmp_path: Path) -> None:
    """As smoothly as the bare previews: at 60 frames a second where the machine can show that many."""
    output = many_clips.write(tmp_path / "out", 5000, num_previews=5000)
    assert cli.main(["report", "-o", str(output)]) == 0
    previews = sorted((output / "media" / "previews").rglob("*.webp"))
    pictures = "".join(f"<img loading=lazy width=210 height=118 src={each.as_uri()}>\n" for each in previews)
    plain = tmp_path / "plain.html"
    plain.write_text(f"<html data-ready><div id=sheet style='height: 100vh; overflow: auto'>{pictures}</div></html>")
    assert len(previews) == 5000
    bare = scrolled(browser, plain)
    for pixels, times in scrolled(browser, output / "report.html").items():
        possible = statistics.median(bare[pixels])
        middle, slow, bare_slow = statistics.median(times), share(times, possible), share(bare[pixels], possible)
        print(f"\n5,000 clips, {pixels} px per frame: median {middle:.1f} ms, {slow:.0%} slow frames")
        print(f"bare previews: median {possible:.1f} ms, {bare_slow:.0%}")
        assert middle < 1.1 * possible
        assert slow < bare_slow + 0.1


def scrolled(browser: Any, path: Path) -> dict[int, list[float]]:
    """Milliseconds between frames while a page's sheet scrolls, by pixels per frame."""
    with chromium.opened(browser, path.as_uri()) as page:
        page.page.locator("#sheet").scroll_into_view_if_needed()
        page.page.wait_for_load_state("networkidle")
        times = {pixels: page.frame_times(pixels, 180) for pixels in (8, 120)}
        assert page.complaints == []
    return times


def share(times: list[float], possible: float) -> float:
    """The share of frames that take half as long again as the median of what is possible."""
    return sum(time > 1.5 * possible for time in times) / len(times)


def test_a_hundred_thousand_clips_load(browser: Any, tmp_path: Path) -> None:
    output = many_clips.multiplied(many_clips.write(tmp_path / "out", 10_000), 10)
    began = time.monotonic()
    assert cli.main(["report", "-o", str(output)]) == 0
    written = time.monotonic()
    size = (output / "report.html").stat().st_size
    with chromium.opened(browser, (output / "report.html").as_uri()) as page:
        loaded = time.monotonic()
        seconds = f"{written - began:.1f} s to write, {loaded - written:.1f} s to load"
        print(f"\n100,000 clips: {size / 1e6:.2f} MB, {seconds}")
        assert size < 5_000_000
        assert loaded - written < 10
        assert shown(page) == 100_000
        moved = page.page.evaluate(TIMED, [2, 50])
        print(f"100,000 clips: {moved:.0f} ms until a moved threshold is counted and drawn")
        assert moved < 1000
        [(clips, _)] = asking(output)(page.page.evaluate(PANEL, 2)["together"])
        assert page.page.locator("#outcome-text").get_attribute("data-clips") == str(clips)
        page.page.locator("#sheet .cards").press("End")
        settle(page)
        assert page.page.locator("#sheet .card.active").get_attribute("aria-posinset") == "100000"
