"""Queries of `reelmill sql`: parsed, and answered by DuckDB or by Spark."""
