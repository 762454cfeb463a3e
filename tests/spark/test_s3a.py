"""Spark's settings for s3://, which never hold credentials, and messages about missing ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyspark.sql import SparkSession

from jobs.config.errors import SessionError
from jobs.config.settings import Settings, load
from jobs.spark import s3a
from udfs.storage.settings import Params

S3A = "spark.hadoop.fs.s3a."
TABLE = {f"{s3a.DYNAMODB}.tableName": "log", f"{s3a.DYNAMODB}.region": "eu-west-1"}


@pytest.fixture(autouse=True)
def _started_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in s3a.PREPARED:
        monkeypatch.delenv(name, raising=False)


def test_a_run_that_stays_here_needs_nothing() -> None:
    assert s3a.configured(Settings(), ("/data/out", "videos/", "")) == Settings()


@pytest.mark.parametrize("names", [("s3://bucket/out", ""), ("/data/out", "s3a://bucket/list.jsonl")])
def test_a_run_on_a_store_gets_packages_without_the_bundle(names: tuple[str, str]) -> None:
    spark = s3a.configured(Settings(), names).spark
    packages = spark["spark.jars.packages"].split(",")
    assert packages[0].startswith("io.delta:delta-spark")
    assert {package.split(":")[1] for package in packages[1:]} == {"hadoop-aws", *s3a.SDK}
    assert spark["spark.jars.excludes"] == "software.amazon.awssdk:bundle"
    assert spark["spark.hadoop.fs.s3.impl"] == "org.apache.hadoop.fs.s3a.S3AFileSystem"


def test_the_users_own_settings_stay() -> None:
    settings = load([], ["spark.spark.jars.packages=a:b:1", f"spark.{S3A}endpoint=http://other"])
    spark = s3a.configured(settings, ("s3://bucket/out",)).spark
    assert spark["spark.jars.packages"].endswith(",a:b:1")
    assert spark[f"{S3A}endpoint"] == "http://other"


@pytest.mark.parametrize("name", s3a.PREPARED)
def test_under_spark_submit_and_on_platforms_nothing_is_changed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert s3a.configured(Settings(), ("s3://bucket/out",)) == Settings()


@pytest.mark.parametrize(
    ("params", "given"),
    [
        (Params(), {}),
        (Params(s3_region="eu-west-1"), {"endpoint.region": "eu-west-1"}),
        (
            Params(s3_endpoint="https://minio:9000"),
            {"endpoint": "https://minio:9000", "connection.ssl.enabled": "true", "endpoint.region": "us-east-1"},
        ),
        (Params(s3_endpoint="http://minio:9000"), {"connection.ssl.enabled": "false", "path.style.access": "true"}),
        (
            Params(s3_anonymous=True),
            {"aws.credentials.provider": "org.apache.hadoop.fs.s3a.AnonymousAWSCredentialsProvider"},
        ),
    ],
)
def test_hadoop_is_led_to_the_same_store(params: Params, given: dict[str, str]) -> None:
    conf = s3a.conf(params)
    assert {key: conf[S3A + key] for key in given} == given
    if not params.s3_endpoint:
        assert f"{S3A}endpoint" not in conf


def test_no_key_ever_becomes_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "s3cret")
    spark = s3a.configured(Settings(), ("s3://bucket/out",)).spark
    assert not [key for key, value in spark.items() if "s3cret" in value or key.endswith((".key", ".token"))]


@pytest.mark.spark
def test_a_session_without_the_packages_says_what_to_add(spark: SparkSession) -> None:
    with pytest.raises(
        SessionError, match=r"no file system for s3://: add --packages org.apache.hadoop:hadoop-aws:3.4.1,\S+ --"
    ):
        s3a.check(spark, "s3://bucket/out", Params())
    s3a.check(spark, "/data/out", Params())


@pytest.mark.spark
def test_several_writers_need_a_log_store(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    params, impl = replace(Params(), s3_writers="several"), "spark.delta.logStore.s3.impl"
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    hadoop.set("fs.s3.impl", "org.apache.hadoop.fs.LocalFileSystem")  # any: it is only looked for
    said = []
    try:
        for key, value in (("spark.app.name", "none of them"), (impl, s3a.LOG_STORE), *TABLE.items()):
            spark.conf.set(key, value)
            with pytest.raises(SessionError) as e:
                s3a.check(spark, "s3://bucket/out", params)
            said.append(str(e.value))
        s3a.check(spark, "s3://bucket/out", Params())  # one writer needs none
    finally:
        hadoop.unset("fs.s3.impl")
        for key in (impl, *TABLE):
            spark.conf.unset(key)
    assert [line.partition("several: ")[2].split(" ")[0] for line in said] == [impl, *TABLE, s3a.LOG_STORE]
