"""Options become arguments of the command line and are built from them once."""

from __future__ import annotations

import argparse
from dataclasses import FrozenInstanceError, dataclass

import pytest

from jobs.config import arguments
from jobs.config.arguments import OutputOptions, StageOptions, argument, flag, several


@dataclass(frozen=True, kw_only=True)
class Options(StageOptions):
    """One argument of each kind."""

    manifest: str = argument("where the videos are", short="-m", positional=True, metavar="MANIFEST")
    top: int = argument("how many", default=20, type=arguments.positive)
    all: bool = flag("all of them")
    exports: tuple[str, ...] = several("an export", "FOLDER")


def built(*argv: str) -> Options:
    """The options of a command line."""
    parser = arguments.Parser(prog="job")
    arguments.add(parser, Options, argv)
    return arguments.build(Options, parser.parse_args(argv))


@pytest.mark.parametrize(
    "argv",
    [
        ["videos/", "-o", "out"],
        ["-o", "out", "videos/"],
        ["--output", "out", "-m", "videos/"],
        ["--manifest", "videos/", "-oout"],
        ["--manifest=videos/", "--output=out"],
    ],
)
def test_a_value_with_a_place_and_a_name_is_given_by_either(argv: list[str]) -> None:
    options = built(*argv)
    assert (options.manifest, options.output) == ("videos/", "out")


def test_what_is_not_given_has_its_default() -> None:
    assert built("v", "-o", "out") == Options(
        manifest="v", output="out", top=20, all=False, exports=(), conf=(), set=()
    )


def test_values_that_are_given_several_times_are_a_tuple_in_their_order() -> None:
    options = built("v", "-o", "out", "--exports", "a", "--exports", "b", "--set", "x.y=1", "--all", "--top", "3")
    assert (options.exports, options.set, options.all, options.top) == (("a", "b"), ("x.y=1",), True, 3)


def test_options_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        built("v", "-o", "out").output = "elsewhere"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["-o", "out"], "the following arguments are required: MANIFEST"),
        (["v"], "the following arguments are required: -o/--output"),
        (["v", "-o", "out", "-m", "w"], "unrecognized arguments: v"),
        (["v", "-o", "out", "--exprots", "w"], "unrecognized arguments: --exprots w; did you mean --exports?"),
        (["v", "-o", "out", "--top", "0"], "argument --top: '0' is no whole number above 0"),
    ],
)
def test_a_wrong_command_line_ends_with_a_line(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        built(*argv)
    assert e.value.code == 2
    assert capsys.readouterr().err.endswith(f"job: error: {line}\n")


@pytest.mark.parametrize(
    ("argv", "codes"), [([], None), (["--retry-failed"], ()), (["--retry-failed", "TIMEOUT"], ("TIMEOUT",))]
)
def test_failures_to_try_again_are_none_all_or_those_of_a_code(argv: list[str], codes: tuple[str, ...] | None) -> None:
    assert built("v", "-o", "out", *argv).retry == codes


def test_every_argument_has_a_line_of_help() -> None:
    parser = argparse.ArgumentParser()
    arguments.add(parser, OutputOptions, [])
    assert all(action.help for action in parser._actions)
