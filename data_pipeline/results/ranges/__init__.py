"""Rows from outside that come in ranges, each of which is loaded for good."""
