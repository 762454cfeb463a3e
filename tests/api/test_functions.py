"""Jobs as functions: their arguments are those of the command line, and what it refuses is an exception."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import reelmill
from jobs import cli, curate, maintain, takedown
from jobs.api import functions
from jobs.config.arguments import argument_fields
from jobs.config.errors import CommandError, UsageError
from udfs.core.errors import MediaError


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The options with which jobs would have run on Spark."""
    options: list[Any] = []
    monkeypatch.setattr(cli, "execute", lambda job, given, settings: options.append(given))
    return options


@pytest.mark.parametrize("name", functions.NAMES)
def test_a_function_takes_what_the_command_takes(name: str) -> None:
    job = functions.function(name)
    options = {field.name for field in argument_fields(cli._options(name))}
    assert set(inspect.signature(job).parameters) == options - {"set", "log_format"} | {"settings"}
    assert (job.__name__, str(job.__doc__).splitlines()[0]) == (name, cli.JOBS[name])


@pytest.mark.parametrize("name", functions.NAMES)
def test_a_function_says_what_it_returns(name: str) -> None:
    job = functions.function(name)
    returned = inspect.signature(job).return_annotation
    assert reelmill.__annotations__[name] == f"Callable[..., {returned}]"
    assert functions.RETURNED[returned] in str(job.__doc__)


def test_the_manifest_comes_first_and_then_the_output(executed: list[Any]) -> None:
    functions.function("curate")(Path("/videos"), "/out", settings={"filter.motion": True}, limit=5)
    expected = curate.Options(manifest="/videos", output="/out", set=("filter.motion=true",), limit=5)
    assert executed == [expected]


def test_a_tilde_is_the_home_and_one_conf_file_needs_no_list(
    executed: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.toml").write_text("[filter]\nmotion = true\n")
    functions.function("curate")("~/videos", Path("~/out"), conf="~/my.toml")
    functions.function("takedown")("~/out", "~/videos/a.mp4", reason="~ asked", exports=["~/wds"])
    [curated, gone] = executed
    home = str(tmp_path)
    assert (curated.manifest, curated.output, curated.conf) == (f"{home}/videos", f"{home}/out", (f"{home}/my.toml",))
    assert (gone.what, gone.reason, gone.exports) == ((f"{home}/videos/a.mp4",), "~ asked", (f"{home}/wds",))


@pytest.fixture
def in_los_angeles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is seven hours behind UTC in summer."""
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_los_angeles")
def test_a_time_without_a_zone_is_that_of_the_command_line(executed: list[Any]) -> None:
    at = datetime(2026, 5, 1, 22)
    run, moment = functions.function("curate"), datetime(2026, 5, 2, 5, tzinfo=UTC)
    run("/videos", "/out", since="2026-05-01T22:00", deadline=at)
    run("/videos", "/out", since=at, deadline=moment)
    assert [(options.since, options.deadline) for options in executed] == [(moment, moment)] * 2
    functions.function("export")("/out", "/to", as_of=at)
    functions.function("export")("/out", "/to", as_of="2026-05-01T22:00")
    assert [options.as_of for options in executed[2:]] == [datetime(2026, 5, 1, 22, tzinfo=UTC)] * 2


def test_values_are_read_as_the_command_line_reads_them(executed: list[Any]) -> None:
    run = functions.function("curate")
    run("/videos", "/out", since="2026-05-01T00:00Z", retry_failed=True)
    run("/videos", "/out", since=datetime(2026, 5, 1, tzinfo=UTC), retry_failed="CORRUPT")
    functions.function("takedown")("/out", "v1", exports=[Path("/wds")])
    functions.function("maintain")("/out", keep_days=30)
    assert [options.since for options in executed[:2]] == [datetime(2026, 5, 1, tzinfo=UTC)] * 2
    assert [options.retry for options in executed[:2]] == [(), ("CORRUPT",)]
    assert executed[2:] == [
        takedown.Options(output="/out", what=("v1",), exports=("/wds",)),
        maintain.Options(output="/out", keep_days=30.0),
    ]


@pytest.mark.parametrize(
    ("name", "given", "line"),
    [
        ("curate", {"manifest": "v", "limit": 0}, "limit: '0' is no whole number above 0"),
        (
            "curate",
            {"manifest": ["a.mp4"]},
            "manifest: list in place of one value; a manifest may be a file with a list",
        ),
        ("filter", {"conf": "/none.toml"}, "--conf /none.toml: No such file or directory"),
        ("curate", {"manifest": "v", "retry_failed": "CORUPT"}, "retry_failed: no CORUPT; did you mean CORRUPT?"),
        ("export", {"to": "x", "format": "nemoo"}, "format: no nemoo: did you mean nemo?"),
        ("filter", {"settings": {"filter.moton": True}}, "no setting filter.moton; did you mean filter.motion?"),
        ("takedown", {}, "--output /nowhere: no tables here"),
    ],
)
def test_what_the_command_line_refuses_is_an_exception_with_its_line(name: str, given: Any, line: str) -> None:
    with pytest.raises(CommandError) as caught:
        functions.function(name)(output="/nowhere", **given)
    assert line in str(caught.value)


def test_an_argument_that_there_is_not_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="dryrun"):
        functions.function("maintain")("/out", dryrun=True)


def test_models_are_listed_and_a_missing_one_is_an_exception(capsys: pytest.CaptureFixture[str]) -> None:
    functions.function("models")()
    assert "siglip2" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no model siglip: did you mean siglip2"):
        functions.function("models")(fetch="siglip")


def test_a_bug_of_an_input_is_an_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_on_spark", lambda *given: (None, "1 bug: KeyError"))
    with pytest.raises(CommandError, match="1 bug: KeyError"):
        functions.function("filter")(tmp_path)


def test_a_full_disk_and_a_store_are_one_line_and_a_bug_keeps_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(error: Exception) -> SimpleNamespace:
        def check(options: Any, settings: Any) -> None:
            raise error

        return SimpleNamespace(check=check)

    options: Any = curate.Options(manifest="v", output="/nowhere")
    settings: Any = SimpleNamespace(sources=None)
    with pytest.raises(CommandError, match="No space left on device"):
        cli.execute(failing(OSError(28, "No space left on device")), options, settings)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="a file or store that is needed: DENIED: the store refuses"):
        cli.execute(failing(MediaError("DENIED", "the store refuses")), options, settings)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="odd"):
        cli.execute(failing(OSError("odd")), options, settings)  # type: ignore[arg-type]
