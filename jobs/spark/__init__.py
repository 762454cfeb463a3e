"""The Spark session, its resources, and the Java that it runs on."""
