"""The archive of classes: taken where it fits, made once, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.spark import class_archive, session

OPTIONS, JARS = session.LOCAL["spark.driver.extraJavaOptions"], session.delta_package()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine's archive lies, with Delta's jars noted, and no classes yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = class_archive.folder_of(OPTIONS, JARS)
    folder.mkdir(parents=True)
    (tmp_path / "a.jar").write_bytes(b"")
    (folder / class_archive.JARS).write_text(str(tmp_path / "a.jar"))
    return folder


def test_without_an_archive_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert class_archive.settings(OPTIONS, JARS) == {}


def test_noted_jars_are_not_looked_for_again(folder: Path, tmp_path: Path) -> None:
    assert class_archive.settings(OPTIONS, JARS) == {
        "spark.jars.packages": "",
        "spark.driver.extraClassPath": str(tmp_path / "a.jar"),
        "spark.driver.extraJavaOptions": OPTIONS,
    }


def test_classes_are_taken_from_the_archive(folder: Path) -> None:
    (folder / class_archive.CLASSES).write_bytes(b"")
    options = class_archive.settings(OPTIONS, JARS)["spark.driver.extraJavaOptions"]
    assert f"-XX:SharedArchiveFile={folder / class_archive.CLASSES}" in options


def test_a_jar_that_is_gone_is_looked_for_again(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jar").unlink()
    assert class_archive.settings(OPTIONS, JARS) == {}


@pytest.mark.parametrize(("options", "jars"), [(OPTIONS + " -Xss4m", JARS), (OPTIONS, "io.delta:delta-spark_2.13:9")])
def test_another_session_has_another_archive(folder: Path, options: str, jars: str) -> None:
    assert class_archive.settings(options, jars) == {}


def test_another_java_has_another_archive(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch(mode=0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert class_archive.folder_of(OPTIONS, JARS) != folder


@pytest.mark.parametrize("extra", [{"spark.jars.packages": "a:b:1"}, {"spark.master": "local-cluster[2,1,1024]"}])
def test_sessions_with_other_jars_or_machines_take_no_archive(folder: Path, extra: dict[str, str]) -> None:
    assert session._archive(extra) == {}
