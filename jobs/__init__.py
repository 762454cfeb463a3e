"""One spark-submit file a step; the first line of each is its edge in the flow."""
