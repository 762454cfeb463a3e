"""Settings files: data only. `local.toml` is read by default; `spark/` is for spark-submit."""
