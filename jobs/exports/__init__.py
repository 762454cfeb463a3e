"""How an export is planned, written and recorded on Spark."""
