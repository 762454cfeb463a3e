"""The served page in Chromium: it counts and finds clips that it does not hold, plays clips, and takes labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from jobs.reports import contents
from jobs.reports.live import Library
from tests.reports.conftest import asking
from tests.reports.test_browser import MOVE, PANEL, address_of_first, choose, settle
from tests.support import chromium, many_clips
from tests.support.chromium import Opened
from tests.support.footage import write_numbered
from tests.support.serving import served_here
from udfs.filter import Params
from udfs.storage.settings import Params as Sources

pytestmark = pytest.mark.report
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests."""
    with chromium.browser() as running:
        yield running


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More clips than the page is let hold, the first of which can be played."""
    return many_clips.write(tmp_path_factory.mktemp("served"), 700, num_previews=700)


@pytest.fixture
def page(browser: Any, output: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """The page with a tenth of the clips."""
    monkeypatch.setattr(contents, "MAX_CLIPS", 70)
    library = Library(str(output), Sources(), Params(), who="ann")
    with served_here(library) as server, chromium.opened(browser, server.page) as found:
        yield found
        assert found.complaints == []
        assert all(address.startswith(server.address) for address in found.requests if address[:5] != "data:")


def waits_for(page: Opened, number: int) -> None:
    """Wait until so many clips are found."""
    expect(page.page.locator("#shown")).to_have_attribute("data-clips", str(number), timeout=PATIENCE_MS)


def test_thresholds_are_counted_over_all_clips(page: Opened, output: Path) -> None:
    expect(page.page.locator("#outcome-text")).not_to_contain_text("keep about", timeout=PATIENCE_MS)
    page.page.evaluate(MOVE, [4, 20])
    expect(page.page.locator("#outcome-text")).not_to_contain_text("keep about", timeout=PATIENCE_MS)
    found = page.page.evaluate(PANEL, 4)
    for which in ("alone", "together"):
        [(clips, hours)] = asking(output)(found[which])
        assert int(found[f"{which}Clips"]) == clips
        assert float(found[f"{which}Seconds"]) == pytest.approx(hours * 3600)


def test_filters_look_through_all_clips(page: Opened, output: Path) -> None:
    waits_for(page, 700)
    choose(page, reason="blurred")
    [(clips,)] = asking(output)("SELECT count(*) FROM verdicts WHERE array_contains(reasons, 'blurred')")
    waits_for(page, clips)
    assert "blurred" in (page.page.locator("#sheet .card .verdict").first.text_content() or "")
    assert page.violations() == []


def test_all_clips_are_sorted_by_their_length(page: Opened, output: Path) -> None:
    waits_for(page, 700)
    choose(page, sort="length")
    first = page.page.locator("#sheet .card .address").first
    expect(first).to_have_text(address_of_first(output, "duration_s"), timeout=PATIENCE_MS)


def test_a_text_that_cannot_be_searched_is_said(page: Opened) -> None:
    page.page.locator("#similar").fill("a red car")
    no_vectors = "no embeddings by the last run's settings here"
    expect(page.page.locator("#shown")).to_contain_text(no_vectors, timeout=PATIENCE_MS)
    page.complaints.clear()  # the server's status 400, which is shown


def test_labels_are_given_filtered_and_taken_back(page: Opened) -> None:
    page.page.locator("#sheet .card").first.click()
    form, items = page.page.locator(".labels form"), page.page.locator(".labels li")
    form.locator("input").first.fill("<b>good</b>")
    form.get_by_role("button", name="Give").click()
    expect(items).to_contain_text("<b>good</b> (ann)", timeout=PATIENCE_MS)
    assert page.violations() == []
    page.picture("labels")
    page.page.get_by_role("button", name="Close").click()
    choose(page, label="<b>good</b>")
    waits_for(page, 1)
    page.page.locator("#sheet .card").first.click()
    page.page.get_by_role("button", name="take back").click()
    expect(items).to_have_count(0, timeout=PATIENCE_MS)
    page.complaints.clear()  # the clip's file is not there


def test_a_clip_plays(page: Opened, output: Path) -> None:
    settle(page)
    page.page.locator("#sheet .card").first.click()
    clip_id = page.page.locator("#clip-body dd").nth(1).text_content() or ""
    page.page.keyboard.press("Escape")
    settle(page)  # else the next click may meet the dialog as it closes
    path = output / "media/clips" / clip_id[:2] / f"{clip_id}-{many_clips.FINGERPRINT[:8]}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_numbered(path)
    page.page.locator("#sheet .card").first.click()
    page.page.locator("dialog video").evaluate("(video) => video.play()")
    page.page.wait_for_timeout(700)
    assert page.page.locator("dialog video").evaluate("(video) => video.currentTime") > 0.1
    page.complaints.clear()  # the file was not there at first
