"""custom: stages of the user's own, from settings to tables, gates and exports."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from jobs import cli
from jobs.config.settings import load
from jobs.flow import custom as custom_stages
from schemas import TABLES
from tests.support.outputs import CURATED, table
from udfs import custom
from udfs.core import user_code
from udfs.core.errors import MediaError
from udfs.runtime.context import Env

CODE = '''
import os

import numpy as np

LIMIT = 0.5


def score(frames):
    """A comment."""
    return [(float(np.diff(frame.mean(axis=2), axis=1).std()), "wide") for frame in frames]


def size(path):
    return os.path.getsize(path)


def sound(path):
    from own_beside import DIVISOR

    print("heard", path)
    os.chdir(os.path.dirname(path))
    return np.zeros(os.path.getsize(path) % DIVISOR)


def load(device):
    return {"device": device}


def loudness(inputs, model):
    return [{"value": len(each), "device": model["device"]} for each in inputs]


class Unknown(RuntimeError):
    def __init__(self, what, where):
        super().__init__(f"{what} is known {where}")


def seconds(rows):
    if any(row["start_s"] > 0 for row in rows):
        raise Unknown("only the first clip", "here")
    return [row["end_s"] - row["start_s"] for row in rows]
'''
MODELS = """
import numpy as np

NUM_FRAMES = 3


class Tower:
    def encode(self, clips):
        assert {clip.shape[0] for clip in clips} == {NUM_FRAMES}
        return np.array([clip.mean(axis=(0, 1)).mean(axis=0) for clip in clips])

    def encode_text(self, texts):
        return [[len(text), 1.0, 1.0] for text in texts]


def load(device):
    return Tower()


def beauty(device):
    return lambda frames: [frame.mean() / 25.5 for frame in frames]


def engine(device):
    return lambda requests: [f"{len(request.video.pictures)} frames of a road, on a {device}" for request in requests]
"""
CONF = """
[custom.sharpness]
function = "own_scores:score"
columns = {sharpness = "float", note = "string"}
comments = {sharpness = "spread of the steps in brightness from pixel to pixel"}
checks = {in_range = "sharpness >= 0"}
gate = "sharpness >= 1000 AND note = 'wide'"
batch_size = 7

[custom.file_size]
function = "own_scores:size"
input = "clip"
columns = {num_bytes = "bigint"}

[custom.loudness]
function = "own_scores:loudness"
input = "clip"
decode = "own_scores:sound"
load = "own_scores:load"
columns = {value = "double", device = "string"}
"""
BROKEN = """
[custom.seconds]
function = "own_scores:seconds"
input = "row"
columns = {seconds = "double"}
"""
NAMES = """
[custom.row_names]
function = "row_names:names"
input = "row"
columns = {names = "array<string>"}
"""
SETTINGS = [f"--set={option}" for option in CURATED]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, curated: Path) -> Path:
    """A folder with the user's code and conf files, and an output without rows of it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_scores.py").write_text(CODE, encoding="utf-8")
    (folder / "own_beside.py").write_text("DIVISOR = 7\n", encoding="utf-8")
    (folder / "own_models.py").write_text(MODELS, encoding="utf-8")
    (folder / "own.toml").write_text(CONF, encoding="utf-8")
    (folder / "broken.toml").write_text(BROKEN, encoding="utf-8")
    shutil.copytree(curated, folder / "output")
    return folder


Do = Callable[..., int]


class Shade(StrEnum):
    """A label that some classifiers give."""

    DARK = "dark"


@pytest.fixture(scope="module")
def do(home: Path) -> Do:
    """Run a job on the output with the conf file."""

    def run(job: str, *more: str, conf: str = "own.toml") -> int:
        return cli.main([job, f"--output={home / 'output'}", f"--conf={home / conf}", *SETTINGS, *more])

    return run


@pytest.fixture(scope="module")
def filled(spark: SparkSession, home: Path, do: Do) -> Path:
    """The output once the stages and the gate have seen every clip."""
    assert do("custom") == 0
    assert do("filter") == 0
    return home / "output"


def rows(spark: SparkSession, output: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a table."""
    read = spark.read.format("delta").load(str(output / "tables" / name))
    return [row.asDict() for row in read.orderBy("clip_id").collect()]


def test_each_stage_fills_a_table_of_its_own(spark: SparkSession, filled: Path) -> None:
    clips = rows(spark, filled, "clips")
    sharpness = rows(spark, filled, "sharpness")
    assert [row["clip_id"] for row in sharpness] == [row["clip_id"] for row in clips]
    assert {row["note"] for row in sharpness} == {"wide"}
    assert all(0 < row["sharpness"] < 1000 for row in sharpness)
    assert [row["num_bytes"] for row in rows(spark, filled, "file_size")] == [row["num_bytes"] for row in clips]
    assert [row["value"] for row in rows(spark, filled, "loudness")] == [row["num_bytes"] % 7 for row in clips]
    assert {row["device"] for row in rows(spark, filled, "loudness")} == {"cpu"}


def test_the_table_has_comments_and_checks(spark: SparkSession, filled: Path) -> None:
    table = f"delta.`{filled}/tables/sharpness`"
    comments = {row["col_name"]: row["comment"] for row in spark.sql(f"DESCRIBE TABLE {table}").collect()}
    assert comments["sharpness"] == "spread of the steps in brightness from pixel to pixel"
    properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {table}").collect()}
    assert properties["delta.constraints.in_range"] == "sharpness >= 0"


def test_the_gate_gives_a_reason_and_the_gold_table_has_the_scores(
    filled: Path, do: Do, capsys: pytest.CaptureFixture[str]
) -> None:
    query = (
        "SELECT DISTINCT reasons, sharpness > 0 AS sharp, sharpness_note, file_size_num_bytes > 0 AS f FROM verdicts"
    )
    asked = ["sql", "--output", str(filled), "--format", "csv"]
    assert cli.main([*asked, query]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ['"[""sharpness""]",true,wide,true']
    assert do("filter", "--set=custom.sharpness.gate=sharpness < 1000") == 0
    assert cli.main([*asked, "SELECT count(*), count(sharpness_note) FROM curated"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3,3"
    assert cli.main([*asked, "SELECT count(*) FROM current_file_size"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3"
    assert cli.main([*asked, "--engine=spark", "SELECT count(*) FROM current_sharpness"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3"


@pytest.mark.nights
def test_a_stage_without_a_row_has_its_columns(
    home: Path, tmp_path: Path, curated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(shutil.copytree(curated, tmp_path / "output"))
    options = [
        f"--output={output}",
        f"--conf={home / 'own.toml'}",
        *SETTINGS,
        "--set=custom.sharpness.gate=sharpness > 0",
    ]
    assert cli.main(["filter", *options]) == 0
    for engine in ("duckdb", "spark"):
        query = "SELECT count(*), count(sharpness), count(file_size_num_bytes) FROM curated"
        assert cli.main(["sql", f"--output={output}", f"--engine={engine}", "--format=csv", query]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "3,0,0"
        assert cli.main(["sql", f"--output={output}", f"--engine={engine}", "SELECT * FROM sharpness"]) == 0
    assert cli.main(["filter", *options, "--set=filter.unscored=drop"]) == 0
    assert {tuple(row["reasons"]) for row in table(output, "verdicts")} == {("sharpness_missing",)}


def test_a_function_of_rows_sees_the_clip_its_span_and_its_signals(
    spark: SparkSession, filled: Path, home: Path, do: Do
) -> None:
    (home / "row_names.py").write_text("def names(rows):\n    return [sorted(row) for row in rows]\n", encoding="utf-8")
    (home / "names.toml").write_text(NAMES, encoding="utf-8")
    assert do("custom", conf="names.toml") == 0
    [seen] = {tuple(row["names"]) for row in rows(spark, filled, "row_names")}
    expected = {
        "clip_id",
        "video_id",
        "video_uri",
        "start_s",
        "method",
        "blur",
        "warnings",
        "proxy_uri",
        "uri",
        "width",
    }
    assert expected <= set(seen)
    assert not {"fingerprint", "run_id"} & set(seen)


def test_a_rerun_writes_nothing_until_the_code_changes(
    spark: SparkSession, home: Path, filled: Path, do: Do, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="reelmill")
    code = home / "own_scores.py"
    code.write_text("# A remark.\n" + CODE.replace("\n\n\n", "\n\n\n\n"), encoding="utf-8")
    assert do("custom") == 0
    assert "nothing to do" in caplog.text
    code.write_text(CODE.replace('"wide"', '"broad"'), encoding="utf-8")
    assert do("custom", "--stage=sharpness") == 0
    assert {row["note"] for row in rows(spark, filled, "sharpness")} == {"wide", "broad"}
    code.write_text(CODE, encoding="utf-8")


def test_a_failing_function_is_a_failure_of_its_clip(
    spark: SparkSession, filled: Path, do: Do, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do("custom", conf="broken.toml") == 1
    assert "Unknown: only the first clip is known here" in capsys.readouterr().err
    assert len(rows(spark, filled, "seconds")) == 2
    failures = spark.read.format("delta").load(f"{filled}/tables/failures").where("stage = 'seconds'").collect()
    assert [row["code"] for row in failures] == ["BUG"]
    assert "own_scores.py" in failures[0]["message"]


@pytest.mark.nights
def test_models_can_be_functions_of_the_users_own(
    spark: SparkSession, filled: Path, do: Do, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do("filter", "--set=custom.sharpness.gate=sharpness < 1000") == 0
    assert do("embed", "--set=embed.model=own_models:load") == 0
    of_model = [row for row in rows(spark, filled, "embeddings") if row["model"] == "own_models:load"]
    assert [row["dim"] for row in of_model] == [3, 3, 3]
    assert all(abs(np.linalg.norm(row["vector"]) - 1) < 1e-6 for row in of_model)
    assert do("search", "--set=embed.model=own_models:load", "--text=a road") == 0
    assert of_model[0]["clip_id"] in capsys.readouterr().out
    assert do("aesthetic", "--set=aesthetic.model=own_models:beauty") == 0
    scored = rows(spark, filled, "aesthetics")
    assert {row["model"] for row in scored} == {"own_models:beauty"}
    assert all(0 < row["score_min"] <= row["score_mean"] < 10 for row in scored)
    assert do("caption", "--set=caption.engine=own_models:engine") == 0
    captions = rows(spark, filled, "captions")
    assert {row["caption"].partition(" ")[2] for row in captions} == {"frames of a road, on a cpu"}
    assert all(row["model"].startswith("own_models:engine@") for row in captions)


def test_a_function_that_is_no_model_is_one_line(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for job, setting in (("embed", "embed.model"), ("aesthetic", "aesthetic.model"), ("caption", "caption.engine")):
        options = [f"--output={tmp_path}", f"--conf={home / 'own.toml'}", f"--set={setting}=own_models:loud"]
        assert cli.main([job, *options]) == 2
        assert "own_models.py has no loud" in capsys.readouterr().err


@pytest.mark.upkeep
def test_what_settings_name_no_more_is_still_known(
    spark: SparkSession, filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "output"
    shutil.copytree(filled, copy)
    before = rows(spark, copy, "file_size")
    video_id = rows(spark, copy, "clips")[0]["video_id"]
    gone = {row["clip_id"] for row in rows(spark, copy, "clips") if row["video_id"] == video_id}
    assert cli.main(["takedown", "--output", str(copy), video_id, "--reason=asked"]) == 0
    assert {row["clip_id"] for row in before} - {row["clip_id"] for row in rows(spark, copy, "file_size")} == gone
    assert "file_size" not in TABLES


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["function='own_scores:scores'"], "custom.x.function: own_scores:scores: "),
        (["function='no_such_module:score'"], "no module no_such_module is installed, given by --py-files, or beside"),
        (["function='own_scores:size'", "load='own_scores:load'"], "it must take (frames, model), and takes (path)"),
        (["gate='v > '"], "custom.x.gate: GT is not complete at line 1, column 3"),
        (["columns={select='float'}", "gate='select > 1'"], "; select is a word of SQL: write `select`"),
        (["columns={select='float'}", "checks={c='select > 1'}"], "; select is a word of SQL: write `select`"),
        (["gate='widht > 1'"], "custom.x.gate: no column widht; did you mean width?"),
        (["gate='width > 1'"], "it is on none of the stage's own columns, which are v"),
        (["gate='(SELECT max(v) FROM clips) > 1'"], "write a condition on columns"),
        (["decode='own_scores:sound'"], "custom.x.decode: only a stage whose input is a clip has one"),
        (["input=clip", "load='own_scores:load'", "function='own_scores:loudness'"], "set that too"),
        (["columns={clip_id='string'}"], "custom.x.columns: clip_id is there by itself"),
        (["columns={V='float'}"], "custom.x.columns: V is no name of a-z, 0-9 and _"),
        (["comments={w='?'}"], "custom.x.comments: no column w"),
        (["checks={c='v >'}"], "custom.x.checks.c: "),
        (["inputs=frames"], "no setting custom.x.inputs; did you mean custom.x.input?"),
        (["resources.gpus=0.7"], "Spark takes 0, at most 0.5, or a whole number"),
        (["resources.gpus=1"], "custom.x.resources.gpus = 1, but this machine has no GPU"),
    ],
)
def test_what_is_wrong_is_one_line_before_spark_starts(
    settings: Sequence[str], message: str, home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ["function='own_scores:score'", "columns={v='float'}", *settings]
    options = [f"--set=custom.x.{setting}" for setting in given]
    assert cli.main(["custom", f"--output={tmp_path}", f"--conf={home / 'own.toml'}", *options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("gate='foo(v) > 1'", "[UNRESOLVED_ROUTINE] Cannot resolve routine"),
        ("gate='v + 1'", "[DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE]"),
        ("gate='count(v) > 3'", "[INVALID_WHERE_CONDITION]"),
        ("checks={c='v + 1'}", "[DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN]"),
        ("checks={c='w > 1'}", "[UNRESOLVED_COLUMN"),
    ],
)
def test_a_condition_that_spark_refuses_is_one_line_before_a_clip_is_read(
    setting: str, fault: str, home: Path, filled: Path, do: Do, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["function='own_scores:score'", "columns={v='float'}", setting]
    for job in ("custom", "filter"):
        assert do(job, *(f"--set=custom.x.{option}" for option in options)) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"reelmill: custom.x.{setting[:4]}")
        assert fault in line
    assert not (filled / "tables/x").exists()


def test_a_column_of_another_type_needs_another_name(filled: Path, do: Do, capsys: pytest.CaptureFixture[str]) -> None:
    assert do("custom", "--set=custom.file_size.columns={num_bytes='double'}") == 1
    line = "table file_size: column num_bytes is bigint, and custom.file_size.columns says double"
    assert f"{line}: give the column another name" in capsys.readouterr().err


def test_two_stages_give_verdicts_no_column_of_one_name(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = [
        f"--set=custom.{name}.{setting}"
        for name, column in (("a", "b_c"), ("a_b", "c"))
        for setting in ("function='own_scores:score'", f"columns={{{column}='float'}}")
    ]
    assert cli.main(["custom", f"--output={tmp_path}", f"--conf={home / 'own.toml'}", *options]) == 2
    assert "custom.a_b.columns: c: custom.a gives verdicts a column a_b_c, too" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["clips", "curated", "current_clips", "embed", "Sharp", "2nd"])
def test_a_stage_takes_no_name_that_is_taken(
    name: str, home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = [f"--set=custom.{name}.function='own_scores:size'", f"--set=custom.{name}.columns.v=float"]
    assert cli.main(["custom", f"--output={tmp_path}", f"--conf={home / 'own.toml'}", *options]) == 2
    assert f"custom.{name}: " in capsys.readouterr().err


def test_answers_become_values_of_their_columns() -> None:
    one, two = {"a": "float"}, {"a": "float", "b": "string"}
    assert custom.values(np.float32(0.5), one) == {"a": 0.5}
    assert custom.values({"b": "x"}, two) == {"a": None, "b": "x"}
    assert custom.values((1, "x"), two) == {"a": 1.0, "b": "x"}
    assert custom.values(np.array([1.0, 2.0]), {"a": "array<float>"}) == {"a": [1.0, 2.0]}
    assert custom.values(None, one) == custom.values(pd.NA, one) == {"a": None}
    assert custom.values(np.array([np.int16(-3), "x"], object), two) == {"a": -3.0, "b": "x"}
    assert custom.values(-(2**31), {"a": "int"}) == {"a": -(2**31)}
    assert custom.values(np.bool_(True), {"a": "boolean"}) == {"a": True}
    assert custom.values(Shade.DARK, {"a": "string"}) == {"a": "dark"}
    assert custom.values(["ok", "\udc80"], {"a": "array<string>"}) == {"a": ["ok", "\\udc80"]}


@pytest.mark.parametrize(
    ("answer", "type_"),
    [
        *(("x", "float"), (float("nan"), "float"), (True, "float"), (1.5, "int"), (2**31, "int"), (2**63, "bigint")),
        *((float("nan"), "int"), (float("-inf"), "bigint"), (1e39, "float"), (10**400, "double"), (10**400, "int")),
        *((1, "boolean"), (b"x", "string"), (1.0, "array<float>"), (["x"], "array<float>"), ({"b": 1}, "float")),
        ([float("inf")], "array<float>"),
    ],
)
def test_an_answer_of_another_type_is_a_failure(answer: Any, type_: str) -> None:
    with pytest.raises(MediaError, match="BAD_OUTPUT"):
        custom.values(answer, {"a": type_})


def test_answers_to_frames_become_one() -> None:
    assert custom.reduced_to("float", [1.0, None, 4.0], "mean") == 2.5
    assert custom.reduced_to("int", [1, 2, 2], "mean") == 2
    assert custom.reduced_to("double", [1.0, 4.0], "min") == 1.0
    assert custom.reduced_to("string", ["b", "a", "b"], "max") == "b"
    assert custom.reduced_to("boolean", [True, False, True], "mean") is True
    assert custom.reduced_to("array<float>", [[1.0, 2.0], [3.0, 4.0]], "max") == [3.0, 4.0]
    assert custom.reduced_to("float", [None], "mean") is None
    assert custom.reduced_to("bigint", [2**53 + 1, 2**53 + 3], "min") == 2**53 + 1
    assert custom.reduced_to("array<float>", [[1.0, None], [3.0, None]], "mean") == [2.0, None]


def test_a_function_that_fails_a_batch_is_tried_on_each_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def score(inputs: list[int]) -> list[float]:
        return [1 / each for each in inputs]

    monkeypatch.setattr(user_code, "function", lambda name: score)
    answers = custom.load("own_scores:score", None, "cpu")([2, 0, 4])
    assert [answers[0], answers[2]] == [0.5, 0.25]
    assert isinstance(answers[1], ZeroDivisionError)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda inputs: None, "BAD_OUTPUT: NoneType in place of a list of answers to 1 inputs"),
        (lambda inputs: 0.5, "BAD_OUTPUT: float in place of a list"),
        (lambda inputs: "a", "BAD_OUTPUT: str in place of a list"),
        (lambda inputs: {"a": [1]}, "BAD_OUTPUT: dict in place of a list"),
        (lambda inputs: pd.DataFrame({"a": inputs}), "BAD_OUTPUT: DataFrame in place of a list"),
        (lambda inputs: [1, 2], "BAD_OUTPUT: 2 answers to 1 inputs"),
        (lambda inputs: sys.exit(3), "SystemExit: 3"),
        (lambda inputs: (_ for _ in ()).throw(RuntimeError("shape mismatch")), "shape mismatch"),
    ],
)
def test_what_is_no_answer_fails_its_input_alone(
    answer: Callable[[list[int]], Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_code, "function", lambda name: lambda inputs: answer(inputs) if 0 in inputs else inputs)
    found = custom.load("own_scores:score", None, "cpu")([7, 0, 8])
    assert [found[0], found[2]] == [7, 8]
    assert isinstance(found[1], Exception)
    assert str(found[1]).startswith(told)


def test_answers_may_come_in_any_row(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (np.array, pd.Series, iter, tuple):
        monkeypatch.setattr(user_code, "function", lambda name, kind=kind: kind)
        assert custom.load("own_scores:score", None, "cpu")([1, 2]) == [1, 2]


@pytest.mark.parametrize("message", ["CUDA out of memory", "CUDA error: device-side assert triggered"])
def test_a_gpu_that_is_full_or_has_failed_is_not_the_functions_fault(
    message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(inputs: list[int]) -> list[float]:
        raise RuntimeError(message)

    monkeypatch.setattr(user_code, "function", lambda name: score)
    with pytest.raises(RuntimeError, match=message):
        custom.load("own_scores:score", None, "cpu")([1, 2])


def test_a_stage_without_a_model_needs_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "row_lengths.py").write_text("def lengths(rows):\n    return [len(row) for row in rows]\n")
    monkeypatch.syspath_prepend(tmp_path)
    given = ["function='row_lengths:lengths'", "input=row", "columns={length='int'}"]
    settings = load([], ["models.device=cuda", *(f"custom.x.{setting}" for setting in given)])
    custom_stages.check(settings)
    env = Env("", "", models=settings.models)
    [done] = custom.rows([pd.DataFrame([{"clip_id": "a", "width": 320}])], settings.custom["x"], env)
    assert done["length"].tolist() == [2]
