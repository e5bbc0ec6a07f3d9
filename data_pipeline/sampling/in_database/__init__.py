"""Choosing the rows of a sample inside the database: `selection`."""

from data_pipeline.sampling.in_database.selection import Selection, selection

__all__ = ["Selection", "selection"]
