"""settings: lists every setting with its value and where it is set, checks conf files, and prints their schema."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from jobs.config.settings import load, names
from jobs.settings import value
from tests.support import docs

CONF_FILES = sorted(Path("conf").rglob("*.toml"))


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str], list[str]]:
    """The exit status of `reelmill settings`, and the lines that it prints to both streams."""
    status = cli.main(["settings", *words])
    printed = capsys.readouterr()
    return status, printed.out.splitlines(), printed.err.splitlines()


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A conf file without faults."""
    path = tmp_path / "mine.toml"
    path.write_text('[motion]\nfps = 4\n[embed.resources]\ncpus = 2\n[spark]\n"spark.ui.enabled" = false\n')
    return path


def test_every_setting_has_a_line_and_the_lines_are_a_conf_file(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--conf", str(conf), "--set", "split.method=content")
    status, lines, _ = answer(capsys, *words)
    assert status == 0
    assert {line.removeprefix("# ").partition(" = ")[0].partition(" =")[0] for line in lines[:-1]} == set(names())
    (tmp_path / "listed.toml").write_text("\n".join(lines))
    assert load([str(tmp_path / "listed.toml")], []) == load([str(conf)], ["split.method=content"])


def test_a_line_says_what_a_setting_is_and_where_it_is_set(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("motion.fps", "split.method", "split.clip_stride_s", "embed.resources.cpus", "spark")
    _, lines, _ = answer(capsys, "--conf", str(conf), "--set", "split.method=content", *words)
    given, comments = zip(*(line.split("  # ") for line in lines), strict=True)
    assert [text.strip() for text in given] == [
        *('split.method = "content"', "# split.clip_stride_s ="),
        *("motion.fps = 4.0", "embed.resources.cpus = 2", 'spark."spark.ui.enabled" = "false"'),
    ]
    assert comments[0].startswith('set by --set, default "fixed_stride"; fixed_stride, content, transnetv2; a fixed')
    assert comments[1].startswith("default; a number, at least 0.1, at most 86400; from start to start")
    assert comments[2].startswith(f"set by {conf}, default 2.0; a number, above 0, at most 1000; sampled frames per")
    assert comments[4] == f"set by {conf}; Spark's own"


def test_secrets_of_spark_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = answer(capsys, "--set", "spark.spark.hadoop.fs.s3a.secret.key=hush", "spark")
    assert 'spark."spark.hadoop.fs.s3a.secret.key" = "*********(redacted)"' in lines[0]


def test_a_file_without_faults_is_one_line(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "--check", str(conf)) == (0, [f"{conf}: 3 settings, no fault"], [])


def install(folder: Path, package: str, code: str, stage: str = "loudness") -> None:
    """Leave a package in a folder as pip would, with one module and one stage."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    packed = folder / f"{module}-1.0.0.dist-info"
    packed.mkdir()
    (packed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0.0\n")
    (packed / "entry_points.txt").write_text(f"[reelmill.stages]\n{stage} = {module}:STAGE\n")


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("STAGE = 3\n", "TypeError: 'int' object is not a mapping"),
        ("import sys\nsys.exit(4)\n", "SystemExit: 4"),
    ],
)
def test_a_package_that_is_broken_is_one_line_and_can_be_left_out(
    code: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "broken-stages", code, "noise")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_stages", raising=False)
    leave_out = "custom.noise.use = false leaves it out"
    line = f"reelmill: custom.noise of broken_stages:STAGE: {fault}; {leave_out}"
    assert answer(capsys, "split.method") == (2, [], [line])
    assert answer(capsys, "--set", "custom.noise.use=false", "split.method")[0] == 0
    conf = tmp_path / "without.toml"
    conf.write_text("[custom.noise]\nuse = false\n")
    assert answer(capsys, "--check", str(conf)) == (0, [f"{conf}: 1 setting, no fault"], [])
    assert answer(capsys, "--conf", str(conf), "split.method")[0] == 0


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ('[custom."a.b"]', "custom.a.b: the name of a table is of a-z, 0-9 and _, and begins with a letter"),
        ("[custom.my-stage]", "custom.my-stage: the name of a table is of a-z, 0-9 and _, and begins with a letter"),
        (
            '[custom.x]\nfunction = "my-mod:f"',
            "custom.x.function: write it as module:function, such as my_scores:sharpness",
        ),
        (
            '[custom.x]\nfunction = "my_mod.f"',
            "custom.x.function: write it as module:function, such as my_scores:sharpness",
        ),
    ],
)
def test_a_stage_of_ones_own_that_is_named_wrongly_is_one_line(
    section: str, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "own.toml"
    conf.write_text(f'{section}\ncolumns = {{v = "float"}}\n')
    for given in (("--check",), ("--conf",)):
        status, _, [line, *_] = answer(capsys, *given, str(conf))
        assert status == 2
        assert fault in line


def test_a_stage_of_a_package_that_is_named_wrongly_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "odd-names", 'STAGE = {"function": "json:loads", "columns": {"v": "float"}}\n', "my-noise")
    monkeypatch.syspath_prepend(str(tmp_path))
    status, _, [line] = answer(capsys, "split.method")
    assert (status, line[:72]) == (2, "reelmill: custom.my-noise of odd-names: the name of a table is of a-z, 0")


def test_two_packages_with_a_stage_of_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("one-package", "other-package"):
        install(tmp_path, package, 'STAGE = {"function": "json:loads", "columns": {"v": "float"}}\n', "noise")
    monkeypatch.syspath_prepend(str(tmp_path))
    status, _, [line] = answer(capsys, "split.method")
    assert status == 2
    assert "custom.noise: the packages " in line
    assert "one-package" in line
    assert "other-package" in line


def test_a_file_may_change_the_stage_of_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = 'STAGE = {"function": "my_stages:loudness", "columns": {"loudness": "float"}}\n'
    install(tmp_path, "my-stages", f"{stage}\ndef loudness(frames):\n    return [0.5 for _ in frames]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    conf = tmp_path / "gate.toml"
    conf.write_text('[custom.loudness]\ngate = "loudness > 0.2"\n')
    assert answer(capsys, "--check", str(conf)) == (0, [f"{conf}: 1 setting, no fault"], [])
    names_of_stage = ("custom.loudness.function", "custom.loudness.gate")
    _, [function, gate], _ = answer(capsys, "--conf", str(conf), *names_of_stage)
    assert function.startswith('custom.loudness.function = "my_stages:loudness"  # set by package my-stages, ')
    assert f"# set by {conf}, " in gate
    conf.write_text("[custom.loudness]\nbatch_size = 0\n")
    status, _, [fault] = answer(capsys, "--check", str(conf))
    assert status == 2
    assert "custom.loudness.batch_size: " in fault


def test_every_fault_of_a_file_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(
        'split = 1\n[motion]\nfps = -4\nfsp = 1\n[clip]\nencoder = "x265"\ncrf = "a"\n[splt]\na = 1\n'
        "[embed.resources]\ngpus = 0.7\ncpu = 1\n"
    )
    status, lines, faults = answer(capsys, "--check", str(path))
    assert (status, lines) == (2, [])
    assert all(fault.startswith(f"reelmill: {path}: ") for fault in faults)
    for part in (
        *("split is a section", "no setting motion.fsp; did you mean motion.fps?", "motion.fps: ", "clip.encoder: "),
        *("clip.crf: ", "no section [splt]; did you mean split?", "no setting embed.resources.cpu; ", "gpus 0.7: "),
    ):
        assert len([fault for fault in faults if part in fault]) == 1, part
    assert len(faults) == 8


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--schema", "--check", "x.toml"), "settings: give --schema, --check or names, one of these"),
        (("moton",), "settings: no section or setting moton; did you mean motion?"),
        (("--check", "/none.toml"), "/none.toml: No such file or directory"),
        (("--set", "motion.fps=0"), "motion.fps: Input should be greater than 0, got 0"),
    ],
)
def test_a_wrong_command_is_one_line(words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, *words) == (2, [], [f"reelmill: {line}"])


def test_the_shipped_schema_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "--schema")[1] == docs.SCHEMA.read_text(encoding="utf-8").splitlines(), docs.REWRITE


def test_the_schema_has_every_setting_and_no_other() -> None:
    schema = json.loads(docs.SCHEMA.read_text(encoding="utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def keys(prefix: str, part: dict[str, Any]) -> list[str]:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        if "properties" not in part:
            return [prefix]
        assert part["additionalProperties"] is False
        return [key for name, inner in part["properties"].items() for key in keys(f"{prefix}.{name}", inner)]

    assert {key.removeprefix(".") for key in keys("", schema)} == {*names(), "custom", "spark"}


def test_the_schema_takes_a_section_that_only_changes_the_stage_of_a_package() -> None:
    schema = json.loads(docs.SCHEMA.read_text(encoding="utf-8"))
    section = schema["$defs"][schema["properties"]["custom"]["additionalProperties"]["$ref"].rpartition("/")[2]]
    assert {"function", "columns", "gate"} <= set(section["properties"])
    assert "required" not in section


@pytest.mark.parametrize("path", CONF_FILES, ids=str)
def test_a_conf_file_names_its_schema_and_has_no_fault(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directive, schema = path.read_text(encoding="utf-8").partition("\n")[0].split()
    assert directive == "#:schema"
    assert (path.parent / schema).resolve() == docs.SCHEMA.resolve()
    assert answer(capsys, "--check", str(path))[0] == 0


def test_it_starts_neither_spark_nor_torch() -> None:
    code = (
        "import sys; from jobs import cli; assert cli.main(['settings']) == 0; "
        "assert not {'pyspark', 'py4j', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_value_of_a_setting_is_found_by_its_name() -> None:
    settings = load(["conf/gpu.toml"], [])
    given = tomllib.loads(Path("conf/gpu.toml").read_text(encoding="utf-8"))
    assert value(settings, "split.resources.gpus") == given["split"]["resources"]["gpus"]


def test_a_reader_that_stops_early_is_no_error() -> None:
    command = [sys.executable, "-m", "jobs", "settings"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.close()  # as `head` does
        _, told = run.communicate()
    assert (run.returncode, told) == (0, b"")
