"""Near-duplicate search on Spark: hashes, k-means, links between clips."""
