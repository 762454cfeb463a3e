"""Delta tables, runs, and SQL views."""
