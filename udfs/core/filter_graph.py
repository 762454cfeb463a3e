"""Graphs of FFmpeg's filters, each of which takes one thread."""

from __future__ import annotations

from av.filter.graph import Graph


def new() -> Graph:
    """An empty graph. By itself FFmpeg starts a thread per core for each: more CPU, and their stacks are memory."""
    graph = Graph()
    graph.threads = 1
    return graph
