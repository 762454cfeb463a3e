"""Containers, decoding and encoding."""
