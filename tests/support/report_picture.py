"""Take the picture of a report for README: `python -m tests.support.report_picture .demo/output TO`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from jobs import cli
from tests.support import chromium

SIZE = (1280, 900)
PARTS = ("#funnel", "#scores", "#clips")  # one below the other
GAP = 20  # pixels around each
QUALITY = 62  # of the WebP


def draw(output: Path) -> Image.Image:
    """The sections of a report that say most, cut to the height of a screen each."""
    assert cli.main(["report", "-o", str(output)]) == 0
    with (
        chromium.browser() as running,
        chromium.opened(running, (output / "report.html").absolute().as_uri(), SIZE) as found,
    ):
        pictures = [_part(found, selector) for selector in PARTS]
    height = sum(picture.height + GAP for picture in pictures) + GAP
    whole = Image.new("RGB", (pictures[0].width + 2 * GAP, height), "white")
    top = GAP
    for picture in pictures:
        whole.paste(picture, (GAP, top))
        top += picture.height + GAP
    return whole


def _part(found: chromium.Opened, selector: str) -> Image.Image:
    section = found.page.locator(selector)
    section.scroll_into_view_if_needed()
    found.page.wait_for_timeout(1500)  # previews are drawn
    picture = Image.open(io.BytesIO(section.screenshot())).convert("RGB")
    return picture.crop((0, 0, picture.width, min(picture.height, 620)))


def main(output: str, target: str) -> None:
    """Write the picture of an output's report as WebP."""
    draw(Path(output)).save(target, quality=QUALITY, method=6)


if __name__ == "__main__":
    main(*sys.argv[1:])
