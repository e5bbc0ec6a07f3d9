"""Samples of frames in memory: the same rows as in the database, for the same specification.

The modules have the names of those in `in_database` and follow the same rules, each on whole
columns. A row's place in the frame is what its place in the table is there: where rows are equal in
all that decides, the first one is taken.

What only PostgreSQL can evaluate is refused with an error that says so: `cover.predicates` and
`ForeignKey(where=...)`, which are SQL, and columns declared with types whose values it makes itself
of what a frame has (`inet`, enums, `timestamp(0)`, `numeric` without precision for floats). Times
with time zone are written in UTC, which decides on the order of categories alone.
"""

from data_pipeline.sampling.in_memory.selection import Selection, selection

__all__ = ["Selection", "selection"]
