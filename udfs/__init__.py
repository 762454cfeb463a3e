"""What runs on executors: functions from media and arrays to rows, without pyspark."""
