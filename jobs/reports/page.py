"""The page of a report: one HTML file with its data, style and scripts, which asks no network for anything."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from jobs.reports import clip_columns, figures
from jobs.reports.clip_columns import Clips
from jobs.reports.contents import Contents

CLIP_BYTES = 4_600_000  # of a page, for its clips; with all else but embedded previews it stays below 5 MB
TIGHT = 0.9  # the share of these bytes from which on there are fewer digits, captions or clips
STYLES = ("vendor/uPlot.min.css", "report.css")
SCRIPTS = ("vendor/uPlot.iife.min.js", "library.js", "thresholds.js", "charts.js", "live.js", "sheet.js", "report.js")
SHOWN_GROUPS = 12  # of duplicates, before the others are asked for
DIGITS = (3, 2)  # significant digits of scores, of small libraries and of large ones
# What a page may load: its own style and scripts, by their hashes, and pictures and clips of its own place.
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {styles}; img-src 'self' file: data:; "
    "media-src 'self' file:; connect-src {connect}; base-uri 'none'; form-action 'none'"
)


class Asset(NamedTuple):
    """A file of style or script."""

    name: str
    text: str

    @property
    def markup(self) -> Markup:
        """The text as it is, for an element of its own."""
        return Markup(self.text)

    @property
    def source(self) -> str:
        """How a content security policy names it."""
        return f"'sha256-{base64.b64encode(hashlib.sha256(self.text.encode()).digest()).decode()}'"


def render(
    contents: Contents, media: str | None, embedded: Mapping[str, str], live: Mapping[str, Any] | None = None
) -> str:
    """The page of a report.

    `media` is the address of the output's media folder as seen from the page, None if it cannot be
    reached from there; `embedded` has previews as data URIs by their paths below that folder. With `live`,
    which says what a server lets the page do, the page asks the server that sent it.
    """
    styles, scripts = [_asset(name) for name in STYLES], [_asset(name) for name in SCRIPTS]
    policy = POLICY.format(
        scripts=" ".join(asset.source for asset in scripts),
        styles=" ".join(asset.source for asset in styles),
        connect="'none'" if live is None else "'self'",
    )
    return _template().render(
        report=contents,
        shown_groups=SHOWN_GROUPS,
        policy=policy,
        styles=styles,
        scripts=scripts,
        live=live,
        about=_json_markup(_about(contents, media) | {"live": live}),
        packed=_packed(contents),
        embedded=_json_markup(embedded),
    )


def _packed(contents: Contents) -> dict[str, str]:
    """The clips, their scores and captions, each compressed; fewer of them where the page would be too large."""
    clips = contents.clips
    while True:
        columns = _compressed(clip_columns.columns(clips))
        for digits in DIGITS:
            scores = _compressed(clip_columns.score_columns(clips, contents.scores, digits))
            size = len(columns) + len(scores)
            if size <= TIGHT * CLIP_BYTES or (digits == DIGITS[-1] and size <= CLIP_BYTES):
                return {"clips": columns, "scores": scores, "captions": _captions(clips, CLIP_BYTES - size)}
        clips = clips.thinned(int(TIGHT * len(clips.rows) * CLIP_BYTES / size))


def _captions(clips: Clips, most: int) -> str:
    """As many captions as fit into so many bytes."""
    texts = [row.caption for row in clips.rows]
    number = sum(text is not None for text in texts)
    while len(packed := _compressed(clip_columns.first_texts(texts, number))) > most and number:
        number = int(TIGHT * number * most / len(packed))
    return packed


def _about(contents: Contents, media: str | None) -> dict[str, Any]:
    """What the page's scripts need beside the clips."""
    return {
        "output": contents.output,
        "verdicts": contents.selection.verdicts,
        "numClips": contents.num_clips,
        "dropsUnscored": contents.unscored == "drop",
        "media": media,
    }


def _compressed(value: Any) -> str:
    content = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def _json_markup(value: Any) -> Markup:
    """JSON that stands in a script element: no text in it can end the element."""
    return Markup(json.dumps(value).replace("<", "\\u003c"))


@cache
def _asset(name: str) -> Asset:
    return Asset(name, (resources.files("jobs.reports") / "static" / name).read_text(encoding="utf-8"))


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= figures.FILTERS
    return environment.from_string(_asset("report.html.jinja").text)
