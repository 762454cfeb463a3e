"""Demuxing: tracks, time stamps and frame rate of a file, before any frame is decoded."""
