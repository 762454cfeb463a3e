"""Settings files: data only. `local.toml` is read unless --conf names others; `spark/` is for spark-submit."""
