"""Vectors compared with vectors: k-means, nearest neighbors, duplicate levels, ranking."""
