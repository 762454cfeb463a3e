"""Formats of exported data sets."""
