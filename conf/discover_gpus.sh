#!/bin/sh
# What Spark's spark.{executor,worker}.resource.gpu.discoveryScript wants to hear: the addresses of this host's GPUs as JSON.
addresses=$(nvidia-smi --query-gpu=index --format=csv,noheader | sed 's/.*/"&"/' | paste -sd, -)
echo "{\"name\": \"gpu\", \"addresses\": [$addresses]}"
