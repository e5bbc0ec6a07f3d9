"""Samples of frames in memory: the same rows as in the database, for the same specification."""

from data_pipeline.sampling.in_memory.selection import Selection, selection

__all__ = ["Selection", "selection"]
