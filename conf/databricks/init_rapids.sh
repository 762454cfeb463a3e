#!/bin/bash
# Runs on every node of the GPU cluster before Spark starts: fetches the jar of the RAPIDS Accelerator, and cuML. RAPIDS_MAVEN and
# PIP_INDEX_URL (spark_env_vars of the cluster) name mirrors where the nodes reach no public address.
set -euo pipefail

version=26.08.1 # knows Databricks 17.3; conf/spark/rapids.conf has the same
jar=rapids-4-spark_2.13-$version-cuda12.jar
from=${RAPIDS_MAVEN:-https://repo1.maven.org/maven2}/com/nvidia/rapids-4-spark_2.13/$version/$jar

curl --fail --silent --show-error --location --retry 5 --output "/tmp/$jar" "$from"
sum=$(curl --fail --silent --show-error --location --retry 5 "$from.sha1")
echo "${sum%% *}  /tmp/$jar" | sha1sum --check --quiet
mv "/tmp/$jar" /databricks/jars/

# What the extra cuml of pyproject.toml names.
/databricks/python/bin/pip install --quiet "spark-rapids-ml==26.6.*" "cuml-cu12==26.6.*" "raft-dask-cu12==26.6.*"
