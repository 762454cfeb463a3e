"""Requests to EMR as data, and the script that fills them in and sends them."""
