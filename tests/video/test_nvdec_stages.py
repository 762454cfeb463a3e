"""NVDEC for the frames that exports, models and TransNet V2 see: the CPU gives the same ones where it does not work."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jobs import caption as caption_job
from jobs import embed as embed_job
from jobs import split as split_job
from jobs.cli import main
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings, load
from jobs.lake.fingerprints import fingerprint
from tests.support import broken_files, tiny
from tests.support.clip_units import overwrite_packets
from tests.support.footage import read_number, write_numbered
from tests.support.frame_reads import READS, Arrays, outcome, row, split_by_network
from tests.support.gpu_codecs import nvdec_works, watch_opening
from tests.support.odd_inputs import ODD
from tests.support.odd_streams import write_scenes
from tests.support.odd_times import copy_packets
from tests.support.sandbox_probe import call_here
from udfs import caption, embed, split
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.core.task_resources import Resources
from udfs.exports import frames
from udfs.models import registry
from udfs.runtime import inference, sandbox
from udfs.runtime.context import FAILURE, Env
from udfs.video import container, decode, nvdec

without_nvdec = pytest.mark.skipif(nvdec_works(), reason="this machine has NVDEC")
pytestmark = pytest.mark.usefixtures("untried")

SHARE = Resources(gpus=0.25)


def same(one: Arrays, other: Arrays) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


# Frames


@without_nvdec
@pytest.mark.parametrize("stage", READS)
def test_without_nvdec_the_cpu_decodes_with_one_warning(
    tmp_path: Path, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_numbered(tmp_path / "a.mp4", 60)
    with caplog.at_level(logging.WARNING, "reelmill"):
        asked, again = (READS[stage](path, "cuda", tmp_path / name, call_here) for name in ("1", "2"))
    assert [line[:32] for line in caplog.messages] == ["NVDEC does not decode on GPU 0 ("]
    plain = READS[stage](path, "none", tmp_path, call_here)
    assert same(asked, plain)
    assert same(again, plain)


@pytest.mark.parametrize("stage", READS)
def test_what_fails_on_a_gpu_is_decoded_again_by_the_cpu(
    tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_numbered(tmp_path / "a.mp4", 60, gop=10)
    plain = READS[stage](path, "none", tmp_path, call_here)
    failing = overwrite_packets(write_numbered(tmp_path / "b.mp4", 60, gop=10), "video", slice(8, 60), keep=0)
    opened = watch_opening(monkeypatch, instead=failing)
    assert same(READS[stage](path, "cuda", tmp_path, call_here), plain)
    tried = [on_gpu for name, on_gpu in opened if name == str(path)]
    assert tried[tried.index(True) :][:2] == [True, False]


@pytest.mark.parametrize("stage", READS)
def test_a_damaged_file_fails_as_without_a_gpu(tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_numbered(tmp_path / "whole.mkv", 60, gop=10)
    path = broken_files.cut_to(whole, tmp_path / "a.mkv", whole.stat().st_size // 2)
    found = []
    for hwaccel in ("none", "cuda"):
        if hwaccel == "cuda":
            watch_opening(monkeypatch, instead=path)
        try:
            found.append(READS[stage](path, hwaccel, tmp_path, call_here))
        except MediaError as e:
            found.append([np.array(str(e))])
    assert same(*found)


def test_a_gpu_that_fails_midway_loses_no_frame_and_shows_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_numbered(tmp_path / "a.mp4", 90, gop=10)
    plain = split_by_network(path, "none", tmp_path, call_here)
    failing = write_numbered(tmp_path / "b.mp4", 90, gop=10, first=500)  # other pictures, to tell them apart
    other = split_by_network(failing, "none", tmp_path, call_here)
    overwrite_packets(failing, "video", slice(40, 90), keep=0)
    opened = watch_opening(monkeypatch, instead=failing)
    asked = split_by_network(path, "cuda", tmp_path, call_here)
    assert [on_gpu for _, on_gpu in opened][-2:] == [True, False]
    assert all(map(np.array_equal, asked[::2], plain[::2]))  # the times
    first = asked[1][25:]  # behind the padding
    by_gpu = sum(np.array_equal(a, b) for a, b in zip(first, other[1][25:], strict=True))
    assert 20 <= by_gpu <= 40
    assert np.array_equal(first[by_gpu:], plain[1][25:][by_gpu:])


# The rule


def numbers_on_gpu(path: Path) -> list[int]:
    """The frames of a file, decoded by the rules of a GPU."""
    with container.open_video(str(path), Limits()) as video:
        video.is_on_gpu = True
        return [read_number(frame) for _, frame in decode.frames(video)]


def test_the_first_damage_on_a_gpu_is_an_error(tmp_path: Path) -> None:
    path = overwrite_packets(write_numbered(tmp_path / "a.mp4", 60, gop=30), "video", slice(20, 22), keep=0)
    with container.open_video(str(path), Limits()) as video:
        assert len(list(decode.frames(video))) > 40
        assert video.tally.errors + video.tally.corrupt > 0
    with pytest.raises(MediaError, match=r"CORRUPT: a (packet could not be decoded|damaged frame)"):
        numbers_on_gpu(path)


def test_a_recording_that_begins_between_key_frames_is_no_damage(tmp_path: Path) -> None:
    path = copy_packets(write_numbered(tmp_path / "whole.mp4", 60, gop=20), tmp_path / "a.ts", start_s=0.3)
    with container.open_video(str(path), Limits()) as video:
        here = [read_number(frame) for _, frame in decode.frames(video)]
    assert numbers_on_gpu(path) == here
    assert here[-1] == 59


# Odd inputs


@without_nvdec
@pytest.mark.parametrize("name", ODD)
def test_odd_inputs_give_the_same_frames(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ODD[name](tmp_path)
    plain = {stage: outcome(stage, path, "none", tmp_path) for stage in READS}
    assert {stage: outcome(stage, path, "cuda", tmp_path) for stage in READS} == plain
    watch_opening(monkeypatch, instead=path)
    assert {stage: outcome(stage, path, "cuda", tmp_path / "again") for stage in READS} == plain


# The stages


@without_nvdec
def test_embed_gives_the_same_rows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = str(tiny.clip(tmp_path / "clip"))
    table = pd.DataFrame([row(write_numbered(tmp_path / "a.mp4", 60))])
    env = Env(media_root="unused", fingerprint="f" * 16, models=registry.Params(device="cpu"))
    for name in ("descriptor", model):
        plain, asked = (
            pd.concat(embed.rows([table], embed.Params(model=name, hwaccel=hwaccel, resources=SHARE), env))
            for hwaccel in ("none", "cuda")
        )
        assert asked["vector"].tolist() == plain["vector"].tolist()
        assert asked[FAILURE[0]].isna().all()
        assert capfd.readouterr().err.count("NVDEC does not decode on GPU 0 (") == 1


@without_nvdec
@pytest.mark.nights
def test_caption_and_split_give_the_same_rows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_scenes(tmp_path / "a.mp4", [k / 25 for k in range(120)], cuts=[60])
    table = pd.DataFrame([row(path) | {"clip_id": "a", "proxy_uri": None}])
    env = Env(media_root="unused", fingerprint="f" * 16, models=registry.Params(device="cpu"))
    model = str(tiny.qwen2_5_vl(tmp_path / "qwen"))

    def captions(hwaccel: nvdec.Hwaccel) -> Any:
        chosen = caption.Params(model_variant=model, max_output_tokens=4, hwaccel=hwaccel, resources=SHARE)
        return pd.concat(caption.rows([table], caption.Settings(chosen), env)).drop(
            columns=["seconds", "cpu_s", "gpu_s"]
        )

    def spans(hwaccel: nvdec.Hwaccel) -> Any:
        params = split.Params(method="transnetv2", min_length_s=0.5, crop_s=0, hwaccel=hwaccel, resources=SHARE)
        return pd.concat(split.rows([table], params, env)).drop(columns=["cpu_s", "gpu_s"])

    for stage in (captions, spans):
        plain, asked = stage("none"), stage("cuda")
        pd.testing.assert_frame_equal(asked, plain)
        assert asked[FAILURE[0]].isna().all()
        assert capfd.readouterr().err.count("NVDEC does not decode on GPU 0 (") == 1


def test_decoding_processes_have_more_memory_and_end_with_the_task(tmp_path: Path) -> None:
    table = pd.DataFrame([row(write_numbered(tmp_path / "a.mp4", 10, size=(96, 64)))])
    tight = Env(media_root="unused", fingerprint="f", limits=Limits(memory_mb=256, cuda_memory_mb=2048))
    to = {"to": str(tmp_path / "to"), "aside": str(tmp_path / "aside")}
    limits_mb: dict[nvdec.Hwaccel, int] = {"cuda": 2304, "none": 256}
    for hwaccel, memory_mb in limits_mb.items():
        for rows in (
            embed.rows([table], embed.Params(hwaccel=hwaccel, resources=SHARE), tight),
            frames.rows([table], frames.Params(hwaccel=hwaccel), tight, **to),
        ):
            next(rows)
            assert sandbox._thread.child.kind.memory_mb == memory_mb
            assert next(rows, None) is None
            assert (sandbox._thread.child is None) == (hwaccel == "cuda")


def child_memory_mb(together: threading.Barrier) -> int | None:
    """The limit of this thread's decoding process; None if it has none."""
    together.wait()
    child = getattr(sandbox._thread, "child", None)
    return child.kind.memory_mb if child else None


@pytest.mark.parametrize(("hwaccel", "left"), [("cuda", {None}), ("none", {256})])
def test_so_have_those_of_the_threads_that_decode_for_a_model(
    tmp_path: Path, hwaccel: nvdec.Hwaccel, left: set[int | None]
) -> None:
    table = pd.DataFrame([row(write_numbered(tmp_path / f"{k}.mp4", 10, size=(96, 64))) for k in range(6)])
    model = str(tiny.clip(tmp_path / "clip"))
    params = embed.Params(model=model, hwaccel=hwaccel, resources=Resources(cpus=2, gpus=0.25))
    limits = Limits(memory_mb=256, cuda_memory_mb=2048)
    env = Env(media_root="unused", fingerprint="f", limits=limits, models=registry.Params(device="cpu"))
    assert len(pd.concat(embed.rows([table], params, env))) == 6
    pool, together = inference._decode_threads(2), threading.Barrier(2)
    assert set(pool.map(child_memory_mb, [together] * 2)) == left


# Settings


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["embed.hwaccel=cuda"], "embed: hwaccel cuda: the tasks have no GPU to decode on: set resources.gpus"),
        (["caption.hwaccel=cuda"], "caption: hwaccel cuda: the tasks have no GPU to decode on: set resources.gpus"),
        (
            ["split.hwaccel=cuda", "split.method=transnetv2"],
            "split: hwaccel cuda: the tasks have no GPU to decode on: set resources.gpus",
        ),
        (
            ["split.hwaccel=cuda", "split.resources.gpus=0.25"],
            "split: hwaccel cuda: only method transnetv2 decodes on a GPU, not fixed_stride",
        ),
    ],
)
def test_what_cannot_decode_on_a_gpu_is_refused(overrides: list[str], line: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load([], overrides)
    assert str(raised.value).startswith(line)


def test_a_check_of_a_conf_file_names_what_cannot_decode_on_a_gpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "mine.toml"
    conf.write_text('[embed]\nhwaccel = "cuda"\n[split]\nhwaccel = "cuda"\n[caption]\nhwaccel = "gpu"\n')
    assert main(["settings", "--check", str(conf)]) == 2
    faults = capsys.readouterr().err.splitlines()
    assert len(faults) == 3
    assert "embed: hwaccel cuda: the tasks have no GPU to decode on: set resources.gpus" in faults[0]
    assert "split: hwaccel cuda: only method transnetv2 decodes on a GPU, not fixed_stride" in faults[1]
    assert "caption.hwaccel: " in faults[2]


def test_tasks_that_have_a_gpu_may_decode_on_it() -> None:
    jobs = {"embed": embed_job, "caption": caption_job, "split": split_job}
    for stage, job in jobs.items():
        method = ["split.method=transnetv2"] if stage == "split" else []
        settings = load([], [f"{stage}.hwaccel=cuda", f"{stage}.resources.gpus=0.25", *method])
        assert job.STAGE.resources(settings).gpus == 0.25


@pytest.mark.parametrize(
    ("stage", "override"),
    [
        ("embed", ["embed.hwaccel=cuda", "embed.resources.gpus=0.25"]),
        ("caption", ["caption.hwaccel=cuda", "caption.resources.gpus=0.25"]),
        ("split", ["split.method=transnetv2", "split.hwaccel=cuda", "split.resources.gpus=0.25"]),
        ("export", ["export.frames.hwaccel=cuda"]),
    ],
)
def test_where_a_stage_decodes_is_part_of_its_fingerprint(stage: str, override: list[str]) -> None:
    cpu = [text for text in override if "hwaccel" not in text]
    assert fingerprint(stage, load([], override)) != fingerprint(stage, load([], cpu))


def test_what_an_export_takes_is_not() -> None:
    assert fingerprint("export", load([], ["export.frames.resources.gpus=0.5"])) == fingerprint("export", Settings())
