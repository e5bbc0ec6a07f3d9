"""Tests of the pipeline flights."""
