"""What runs on executors: pure functions from media and arrays to rows. Imports no pyspark and starts no JVM."""
