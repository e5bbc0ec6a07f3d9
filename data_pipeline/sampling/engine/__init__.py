"""Choosing the rows of a sample inside the database: `selection`."""

from data_pipeline.sampling.engine.selection import Selection, selection

__all__ = ["Selection", "selection"]
