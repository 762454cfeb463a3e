"""Pages in Debian's Chromium, driven by Playwright: what they ask for, complain about and draw."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Browser, Page, sync_playwright

PICTURES = Path("build/report")  # screenshots of the tests, for people to look at
WIDE, PHONE = (1280, 900), (390, 844)
# WCAG 2.2 A and AA.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
FRAMES = """async ([selector, pixels, frames]) => {
  const sheet = document.querySelector(selector), times = [];
  for (let frame = 0; frame < frames; frame += 1) {
    sheet.scrollTop += pixels;
    times.push(await new Promise(requestAnimationFrame));
  }
  return times.slice(1).map((time, place) => time - times[place]);
}"""


@dataclass
class Opened:
    """A page that is open: the addresses that it asked for, and what it complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def violations(self) -> list[str]:
        """What axe-core finds against WCAG, one line per kind and element."""
        self.page.evaluate(Path(AXE_FILE_PATH).read_text(encoding="utf-8"))
        found = self.page.evaluate("(rules) => axe.run(document, rules)", RULES)
        return [
            f"{violation['id']}: {node['target']} {node['failureSummary']}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]

    def picture(self, name: str, selector: str | None = None) -> None:
        """Keep a screenshot."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        if selector:
            self.page.locator(selector).scroll_into_view_if_needed()
        self.page.screenshot(path=PICTURES / f"{name}.png")

    def frame_times(self, pixels: int, frames: int, selector: str = "#sheet") -> list[float]:
        """Milliseconds between frames while an element scrolls by so many pixels per frame."""
        times: list[float] = self.page.evaluate(FRAMES, [selector, pixels, frames])
        return times


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    program = shutil.which("chromium")
    assert program, "no Chromium here: apt-get install chromium"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])


@contextmanager
def opened(
    chromium: Browser,
    address: str,
    size: tuple[int, int] = WIDE,
    colors: Literal["light", "dark"] = "light",
    **more: Any,
) -> Iterator[Opened]:
    """A page in a window of its own, once its data is there."""
    width, height = size
    context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=colors, **more)
    page = context.new_page()
    found = Opened(page)
    page.on("request", lambda request: found.requests.append(request.url))
    page.on("console", lambda message: found.complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("dialog", lambda dialog: found.complaints.append(f"dialog: {dialog.message}"))
    page.goto(address)
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    yield found
    context.close()
