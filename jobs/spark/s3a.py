"""What Spark needs to reach s3://, and what protects tables there from other writers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from jobs.config.errors import SessionError
from jobs.config.settings import Settings
from jobs.spark.session import delta_package
from udfs.storage.settings import Params

SCHEMES = ("s3", "s3a")
HADOOP = "org.apache.hadoop:hadoop-aws:3.4.1"  # of pyspark's own Hadoop
BUNDLE = "software.amazon.awssdk:bundle"  # 640 MB of every service there is; these few are what S3 takes
SDK = ("s3", "s3-transfer-manager", "sts", "apache-client", "netty-nio-client", "url-connection-client")
PACKAGES = (HADOOP, *(f"software.amazon.awssdk:{module}:2.29.52" for module in SDK))
S3A = "org.apache.hadoop.fs.s3a"
SUBMIT = (
    f"--packages {','.join(PACKAGES)} --exclude-packages {BUNDLE} --conf spark.hadoop.fs.s3.impl={S3A}.S3AFileSystem"
)

# Environment variables of spark-submit, and of a notebook or task of Databricks.
PREPARED = ("PYSPARK_GATEWAY_PORT", "DATABRICKS_RUNTIME_VERSION")

# Several writers at once: Delta's commits then go through a table of DynamoDB's.
LOG_STORE = "io.delta.storage.S3DynamoDBLogStore"
LOG_PACKAGE = "io.delta:delta-storage-s3-dynamodb"
DYNAMODB = f"spark.{LOG_STORE}.ddb"


def configured(settings: Settings, names: Iterable[str]) -> Settings:
    """The settings with what Spark lacks for these uris, where it is not spark-submit or a platform that sees to it.

    Databricks and EMR know s3:// by themselves, with their own credentials: nothing is changed there.
    """
    if any(name in os.environ for name in PREPARED) or not any(_scheme(name) in SCHEMES for name in names):
        return settings
    mine = settings.spark.get("spark.jars.packages", "")
    packages = {
        "spark.jars.packages": ",".join(filter(None, (delta_package(), *PACKAGES, mine))),
        "spark.jars.excludes": BUNDLE,
    }
    if settings.sources.s3_profile:
        os.environ["AWS_PROFILE"] = settings.sources.s3_profile  # where the JVM looks for it
    return replace(settings, spark=conf(settings.sources) | settings.spark | packages)


def conf(params: Params) -> dict[str, str]:
    """What leads Hadoop to the same store as boto3, with credentials by the same chain; none of them is among these."""
    keys = {
        "spark.hadoop.fs.s3.impl": f"{S3A}.S3AFileSystem",
        "spark.hadoop.fs.s3a.aws.credentials.provider": _provider(params),
    }
    if params.s3_endpoint:
        keys["spark.hadoop.fs.s3a.endpoint"] = params.s3_endpoint
        keys["spark.hadoop.fs.s3a.path.style.access"] = "true"
        keys["spark.hadoop.fs.s3a.connection.ssl.enabled"] = str(urlsplit(params.s3_endpoint).scheme == "https").lower()
    if params.s3_endpoint or params.s3_region:
        keys["spark.hadoop.fs.s3a.endpoint.region"] = params.s3_region or "us-east-1"
    return keys


def check(spark: SparkSession, output: str, params: Params) -> None:
    """Whether Spark knows the output's store, and commits there as the settings say.

    Raises:
        SessionError: a package or a setting is missing.
    """
    scheme = _scheme(output)
    if scheme not in SCHEMES:
        return
    jvm, hadoop = spark.sparkContext._jvm, spark.sparkContext._jsc.hadoopConfiguration()
    try:
        jvm.org.apache.hadoop.fs.FileSystem.getFileSystemClass(scheme, hadoop)  # type: ignore[union-attr]
    except Py4JJavaError as e:
        raise SessionError(f"Spark has no file system for {scheme}://: add {SUBMIT}") from e
    if params.s3_writers == "several" and "DATABRICKS_RUNTIME_VERSION" not in os.environ:
        _check_log_store(spark, scheme)


def _check_log_store(spark: SparkSession, scheme: str) -> None:
    needed = {f"spark.delta.logStore.{scheme}.impl": LOG_STORE, f"{DYNAMODB}.tableName": "", f"{DYNAMODB}.region": ""}
    for key, value in needed.items():
        value_there = spark.conf.get(key, "")
        if not value_there or (value and value_there != value):
            value_needed = value or "the same for all writers"
            raise SessionError(
                f"sources.s3_writers = several: {key} is {value_there or 'not set'}, and must be {value_needed}"
            )
    if not spark.sparkContext._jvm.org.apache.spark.util.Utils.classIsLoadable(LOG_STORE):  # type: ignore[union-attr]
        raise SessionError(f"sources.s3_writers = several: {LOG_STORE} is not on Spark's class path: add {LOG_PACKAGE}")


def _provider(params: Params) -> str:
    if params.s3_anonymous:
        return f"{S3A}.AnonymousAWSCredentialsProvider"
    return f"software.amazon.awssdk.auth.credentials.{'Profile' if params.s3_profile else 'Default'}CredentialsProvider"


def _scheme(name: str) -> str:
    return name.partition("://")[0] if "://" in name else ""
