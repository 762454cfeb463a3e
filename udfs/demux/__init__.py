"""Demuxing: tracks, time stamps and frame rate of a file, read from its packets before any frame is decoded."""
