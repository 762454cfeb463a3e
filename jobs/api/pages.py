"""Rows and clips as HTML for a notebook; every text in it is escaped."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from jobs.lake.formats import Answer, cell
from udfs.core.errors import MediaError, StoreError

MAX_PREVIEW_BYTES = 1 << 20  # a larger one is left out: the notebook's file would hold it
# The columns of scores that a card shows, if a clip has them.
SCORES = (
    *("similarity", "motion_score_global_mean", "motion_score_per_patch_min_256", "aesthetic_score_min"),
    *("aesthetic_score_mean", "blackness", "freeze", "blur"),
)
CARD = "display:inline-block; vertical-align:top; width:240px; margin:4px; font:12px sans-serif; overflow-wrap:anywhere"
PICTURE = "width:240px; height:135px; object-fit:contain; background:#222; color:#ccc"


def table(answer: Answer, more: Sequence[str] = ()) -> str:
    """A table of rows."""
    heads = "".join(f"<th>{_text(head)}</th>" for head in answer.heads)
    rows = "".join(f"<tr>{''.join(f'<td>{_text(value)}</td>' for value in row)}</tr>" for row in answer.rows)
    return f"<table><tr>{heads}</tr>{rows}</table>{_paragraphs(more)}"


def clips(rows: Iterable[Mapping[str, Any]], more: Sequence[str], read: Callable[[str], bytes]) -> str:
    """A card per clip: preview, source, caption, scores, and whether it was kept."""
    cards = "".join(_card(row, read) for row in rows) or "<p>no clips</p>"
    return f"<div>{cards}</div>{_paragraphs(more)}"


def _card(row: Mapping[str, Any], read: Callable[[str], bytes]) -> str:
    source = str(row.get("video_uri")).rpartition("/")[2]
    span = f"{row['start_s']:.1f}-{row['end_s']:.1f} s" if row.get("start_s") is not None else ""
    scores = [f"{name} {cell(row[name])}" for name in SCORES if row.get(name) is not None]
    lines = [f"{source}  {span}", row["clip_id"], _verdict(row), row.get("caption"), *scores]
    shown = "".join(f"<div>{_text(line)}</div>" for line in lines if line)
    return f'<div style="{CARD}">{_picture(row.get("preview"), read)}{shown}</div>'


def _verdict(row: Mapping[str, Any]) -> str:
    if row.get("kept") is None:
        return ""
    return "kept" if row["kept"] else f"dropped: {', '.join(row['reasons'])}"


def _picture(uri: str | None, read: Callable[[str], bytes]) -> str:
    """A preview as a data URI; what cannot be shown is said in its place."""
    if uri is None:
        return f'<div style="{PICTURE}">no preview</div>'
    try:
        content = read(uri)
    except (OSError, MediaError, StoreError) as e:
        return f'<div style="{PICTURE}">{_text(str(e))}</div>'
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"  # no other file gets into a notebook by its name
    if not is_webp or len(content) > MAX_PREVIEW_BYTES:
        return f'<div style="{PICTURE}">{_text(uri)}</div>'
    return f'<img style="{PICTURE}" src="data:image/webp;base64,{base64.b64encode(content).decode()}">'


def _text(value: object) -> str:
    return escape(value if isinstance(value, str) else cell(value))


def _paragraphs(lines: Sequence[str]) -> str:
    return "".join(f"<p>{_text(line)}</p>" for line in lines)
