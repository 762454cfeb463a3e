"""Draw a contact sheet of clips: `python -m tests.support.contact_sheet .demo/output TO`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

from deltalake import DeltaTable
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 6
CELL_WIDTH, CELL_HEIGHT = 192, 108  # pixels of a picture
LABEL_HEIGHT = 18  # pixels below it
GAP = 4  # pixels between cells
BACKGROUND, TEXT, DROPPED = "#ffffff", "#222222", "#c62828"
QUALITY = 70  # of the JPEG


class Cell(NamedTuple):
    """One clip on the sheet: its preview file, its label, and whether the filter kept it."""

    preview: Path
    label: str
    kept: bool


def cells(output: Path) -> list[Cell]:
    """The clips of an output by file and time."""
    videos = {row["video_id"]: Path(row["uri"]).name for row in _rows(output, "videos")}
    spans = {row["clip_id"]: row for row in _rows(output, "spans")}
    verdicts = {row["clip_id"]: row for row in _rows(output, "verdicts")}
    signals = [row for row in _rows(output, "signals") if row["previews"]]
    ordered = sorted(signals, key=lambda row: _place(spans[row["clip_id"]], videos))
    return [_cell(output, row, spans[row["clip_id"]], verdicts[row["clip_id"]], videos) for row in ordered]


def draw(found: list[Cell]) -> Image.Image:
    """The cells in rows of COLUMNS."""
    rows = math.ceil(len(found) / COLUMNS)
    step_x, step_y = CELL_WIDTH + GAP, CELL_HEIGHT + LABEL_HEIGHT + GAP
    sheet = Image.new("RGB", (COLUMNS * step_x + GAP, rows * step_y + GAP), BACKGROUND)
    for number, cell in enumerate(found):
        _draw_cell(sheet, cell, GAP + number % COLUMNS * step_x, GAP + number // COLUMNS * step_y)
    return sheet


def _rows(output: Path, name: str) -> list[dict[str, Any]]:
    return list(DeltaTable(output / "tables" / name).to_pyarrow_table().to_pylist())


def _place(span: dict[str, Any], videos: dict[str, str]) -> tuple[str, float]:
    return videos[span["video_id"]], span["start_s"]


def _cell(
    output: Path, signal: dict[str, Any], span: dict[str, Any], verdict: dict[str, Any], videos: dict[str, str]
) -> Cell:
    # The output may have been moved since the run stored its addresses.
    inside = signal["previews"][0]["uri"].partition("/media/")[2]
    label = f"{videos[span['video_id']]}  {span['start_s']:.1f}-{span['end_s']:.1f} s"
    return Cell(output / "media" / inside, label, verdict["kept"])


def _draw_cell(sheet: Image.Image, cell: Cell, left: int, top: int) -> None:
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    picture = _middle_frame(cell.preview)
    picture.thumbnail((CELL_WIDTH, CELL_HEIGHT))
    sheet.paste(picture, (left + (CELL_WIDTH - picture.width) // 2, top + (CELL_HEIGHT - picture.height) // 2))
    color, label = (TEXT, cell.label) if cell.kept else (DROPPED, f"{cell.label}  duplicate")
    if not cell.kept:
        pen.rectangle((left, top, left + CELL_WIDTH - 1, top + CELL_HEIGHT - 1), outline=DROPPED, width=4)
    pen.text((left + 2, top + CELL_HEIGHT + 2), label, fill=color, font=font)


def _middle_frame(preview: Path) -> Image.Image:
    with Image.open(preview) as animation:
        animation.seek(getattr(animation, "n_frames", 1) // 2)
        return animation.convert("RGB")


def main(output: str, target: str) -> None:
    """Write the contact sheet of an output as a JPEG."""
    draw(cells(Path(output))).save(target, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
