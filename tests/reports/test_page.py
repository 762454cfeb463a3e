"""The page: one file with a policy, within its size, in which texts are texts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.reports import page
from jobs.reports.clip_columns import Clips, Row
from jobs.reports.contents import Contents
from tests.support import many_clips

BLOCK = r'<script type="application/octet-stream" id="data-{name}">(.*?)</script>'


def unpacked(html: str, name: str) -> Any:
    """The data of a block."""
    found = re.search(BLOCK.format(name=name), html)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


@pytest.fixture(scope="module")
def html(contents_of: Callable[..., Contents], library: Path) -> str:
    """The page of an output."""
    return page.render(contents_of(library), "media/", {})


def test_it_runs_only_its_own_scripts_and_styles(html: str) -> None:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert found is not None
    policy = found[1].replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert (len(scripts), len(styles)) == (len(page.SCRIPTS), len(page.STYLES))
    for text in (*scripts, *styles):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.search(r'\s(style|on\w+)="', html) is None  # neither would work under the policy


def test_it_holds_every_clip(html: str) -> None:
    clips = unpacked(html, "clips")
    assert len(clips["id"]) == len(unpacked(html, "captions")) == 700
    assert sum(text is not None for text in unpacked(html, "captions")) == 234
    assert len(html) < 400_000


def test_texts_are_escaped(contents_of: Callable[..., Contents], tmp_path: Path) -> None:
    output = many_clips.write(tmp_path / "<i>'\"&", 70, hostile=True)
    text = page.render(
        contents_of(output, query="SELECT clip_id FROM verdicts -- </p><i>"), "media/", {"</script>": "x"}
    )
    assert "<i>" not in text
    assert "<img src=x" not in text
    assert "</script><script>document" not in text
    assert text.count("</script>") == len(page.SCRIPTS) + 5


def random_clips(number: int, caption: str | None) -> Clips:
    """Clips whose ids and scores do not repeat."""
    chance = np.random.default_rng(0)
    rows = [
        Row(chance.bytes(16).hex(), f"/v/{place // 50}.mp4", place * 9.7, chance.random() * 9, [], caption, None, None)
        for place in range(number)
    ]
    return Clips(rows, {"blur": chance.lognormal(3, 1, number), "freeze": chance.random(number)})


def scored(contents: Contents, clips: Clips) -> Contents:
    """Contents with other clips."""
    scores = [score for score in contents.scores if score.name in clips.scores]
    return contents._replace(clips=clips, scores=scores, num_clips=len(clips.rows))


def test_captions_give_way_before_clips(
    contents_of: Callable[..., Contents], small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "CLIP_BYTES", 120_000)
    chance = np.random.default_rng(1)
    clips = random_clips(2000, None)
    clips = clips._replace(rows=[row._replace(caption=chance.bytes(60).hex()) for row in clips.rows])
    text = page.render(scored(contents_of(small), clips), None, {})
    captions = unpacked(text, "captions")
    assert len(captions) == 2000
    assert 100 < sum(caption is not None for caption in captions) < 1900
    assert sum(len(block) for block in re.findall(BLOCK.format(name=r"\w+"), text)) <= 120_000


def test_a_library_that_is_too_large_is_thinned_out(
    contents_of: Callable[..., Contents], small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "CLIP_BYTES", 60_000)
    text = page.render(scored(contents_of(small), random_clips(5000, None)), None, {})
    assert 500 < len(unpacked(text, "clips")["id"]) < 4000
    assert '"numClips": 5000' in text
    assert sum(len(block) for block in re.findall(BLOCK.format(name=r"\w+"), text)) <= 60_000


def test_an_empty_output_has_a_page(contents_of: Callable[..., Contents], small: Path) -> None:
    text = page.render(contents_of(small, query="SELECT clip_id FROM clips WHERE false"), None, {})
    assert "No clip was dropped." in text
    assert unpacked(text, "clips")["id"] == []
