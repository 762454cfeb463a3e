"""media: a stretch of a video gives exactly its frames, from every container, and a probe tells what is so."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from av.stream import Disposition

from tests.support.footage import read_number, write_numbered
from tests.support.odd_pictures import Track, write_tracks
from udfs.core.errors import MediaError
from udfs.core.limits import Limits, Tally
from udfs.video import container, decode

SMALL = (160, 120)
OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:scenecut=0"}


def shown(path: Path, *stretches: tuple[float, float]) -> list[list[int]]:
    """The numbers of the frames of each stretch, all from one open container."""
    with container.open_video(str(path), Limits()) as video:
        return [[read_number(frame) for _, frame in decode.frames(video, start, end)] for start, end in stretches]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("v.mp4", "libx264", {}),
        ("open.mp4", "libx264", OPEN_GOP),
        ("v.mov", "mpeg4", {}),
        ("v.mkv", "libx264", {}),
        ("v.webm", "libvpx-vp9", {}),
        ("hevc.mp4", "libx265", {}),
        ("v.flv", "libx264", {}),
        ("v.wmv", "wmv2", {}),
        ("v.ts", "libx264", {}),
        ("open.ts", "libx264", OPEN_GOP),
        ("hevc.ts", "libx265", {}),
        ("mpeg2.ts", "mpeg2video", {"bf": "2"}),
        ("v.mpg", "mpeg2video", {}),
        ("plain.avi", "libx264", {"bf": "0"}),
        ("b.avi", "libx264", {}),
        ("divx.avi", "mpeg4", {"bf": "2"}),
    ],
)
def test_a_stretch_of_any_container_is_frame_exact(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    path = write_numbered(tmp_path / name, 120, 30, SMALL, codec=codec, options=options, gop=30)
    assert shown(path, (0, 99), (1.5, 2.5), (1, 1.1), (3.9, 99), (0, 0.2), (4, 99)) == [
        list(range(120)),
        list(range(45, 75)),
        list(range(30, 33)),
        list(range(117, 120)),
        list(range(6)),
        [],
    ]


def test_times_are_seconds_after_the_first_frame(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "v.ts", 30, 30, SMALL)
    with container.open_video(str(path), Limits()) as video:
        assert [at for at, _ in decode.frames(video)] == pytest.approx([k / 30 for k in range(30)])


@pytest.mark.parametrize("fps", [Fraction(30_000, 1001), Fraction(179, 6), Fraction(25, 2)])
def test_probe_tells_rate_count_and_length(tmp_path: Path, fps: Fraction) -> None:
    facts = container.probe(str(write_numbered(tmp_path / "v.mp4", 50, fps, SMALL)), Limits())
    assert (facts["framerate"], facts["num_frames"]) == (float(fps), 50)
    assert facts["duration_s"] == pytest.approx(50 / float(fps), abs=0.001)


def test_probe_tells_what_the_streams_are(tmp_path: Path) -> None:
    facts = container.probe(str(write_numbered(tmp_path / "v.mp4", 60, 30, SMALL, audio="aac")), Limits())
    told = {name: facts[name] for name in ("width", "height", "video_codec", "pixel_format", "audio_codec", "is_vfr", "rotation")}
    assert told == {
        "width": 160,
        "height": 120,
        "video_codec": "h264",
        "pixel_format": "yuv420p",
        "audio_codec": "aac",
        "is_vfr": False,
        "rotation": 0,
    }
    assert "mp4" in facts["container"]
    assert facts["bit_rate_k"] > 10


@pytest.mark.parametrize(
    "limits", [Limits(max_pixels=160 * 120 - 1), Limits(max_duration_s=0.9), Limits(max_frames=29)], ids=["pixels", "s", "frames"]
)
def test_what_is_over_a_limit_is_too_large(tmp_path: Path, limits: Limits) -> None:
    path = write_numbered(tmp_path / "v.mp4", 30, 30, SMALL)
    assert container.probe(str(path), Limits())["num_frames"] == 30
    with pytest.raises(MediaError, match="TOO_LARGE"):
        container.probe(str(path), limits)


def test_a_title_that_is_no_utf8_does_not_matter(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "v.mkv", 30, 30, SMALL)
    data = path.read_bytes()
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"\xe9\xff\xfe\xe8"))
    assert container.probe(str(path), Limits())["num_frames"] == 30


@pytest.mark.parametrize(
    ("tally", "verdict"),
    [
        (Tally(frames=100), None),
        (Tally(frames=100, corrupt=5), None),
        (Tally(frames=100, corrupt=6), "CORRUPT: 6 of 100 frames are damaged"),
        (Tally(frames=95, errors=6), "CORRUPT: 6 of 101 frames are damaged"),
        (Tally(frames=94), None),
        (Tally(frames=93), "PARTIAL: 93 of 100 frames could be decoded"),
        (Tally(), "CORRUPT: no frame could be decoded"),
    ],
)
def test_counts_amount_to_a_verdict(tally: Tally, verdict: str | None) -> None:
    found = None
    try:
        tally.check(100, Limits(max_corrupt_share=0.05))
    except MediaError as e:
        found = str(e)
    assert found == verdict


# Which track


LOW, HIGH = (64, 48), (160, 120)
DEFAULT, OTHER = Disposition.default, Disposition(0)


def track_width(path: Path) -> int:
    with container.open_video(str(path), Limits()) as video:
        return video.stream.width


@pytest.mark.parametrize(
    "beside",
    [
        Track(LOW, 0.1, "mjpeg", "yuvj420p", disposition=DEFAULT),
        Track(LOW, 3, "mjpeg", "yuvj420p", 1, DEFAULT),
        Track(LOW, 0.1, "ffv1", disposition=DEFAULT),
        Track(LOW, 3, "libx264", fps=1, disposition=DEFAULT),
        Track(LOW, 1, "libx264", disposition=DEFAULT),
        Track(LOW, 3, "libx265", "gray", disposition=DEFAULT),
    ],
    ids=["one picture", "a picture a second", "one frame", "preview of a frame a second", "a shorter clip", "a depth map"],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_what_is_beside_the_film_is_not_taken_for_it(tmp_path: Path, beside: Track, suffix: str) -> None:
    film = Track(HIGH, 3, disposition=DEFAULT)
    assert track_width(write_tracks(tmp_path / f"v.{suffix}", beside, film)) == HIGH[0]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_of_two_real_tracks_the_default_one_is_taken_though_a_little_shorter(tmp_path: Path, suffix: str) -> None:
    path = write_tracks(tmp_path / f"v.{suffix}", Track(LOW, 3, disposition=OTHER), Track(HIGH, 2.5, disposition=DEFAULT))
    assert track_width(path) == HIGH[0]


def test_a_slow_default_track_of_some_frames_a_second_is_a_film(tmp_path: Path) -> None:
    slides, camera = Track(HIGH, 3, fps=5, disposition=DEFAULT), Track(LOW, 3, fps=30, disposition=OTHER)
    assert track_width(write_tracks(tmp_path / "v.mkv", camera, slides)) == HIGH[0]


def test_without_flags_the_first_of_equal_tracks_is_taken(tmp_path: Path) -> None:
    assert track_width(write_tracks(tmp_path / "v.ts", Track(HIGH, 2), Track(LOW, 2))) == HIGH[0]


@pytest.mark.parametrize("track", [Track(HIGH, 2, "mjpeg", "yuvj420p"), Track(HIGH, 8, fps=1), Track(HIGH, 2, "libx265", "gray")])
def test_a_file_that_has_nothing_else_is_read_by_what_it_has(tmp_path: Path, track: Track) -> None:
    assert track_width(write_tracks(tmp_path / "v.mkv", track)) == HIGH[0]
