"""What users attached to a stage's tables: kept while the tables themselves are replaced.

`read` finds everything that hangs on a set of relations, `take_down` drops it, and, after the
caller has put other relations in their places, `put_up` puts it up on those. All three belong into
one transaction with an empty search path; `check_unchanged`, in another session, tells whether
users have changed any of it meanwhile.
"""

from data_pipeline.tables.attached.attached import Attached, check_unchanged, read
from data_pipeline.tables.attached.errors import (
    Broken,
    CannotCarryError,
    ChangedError,
    ComesLaterError,
)
from data_pipeline.tables.attached.graph import Blocker, Graph, read_graph
from data_pipeline.tables.attached.put_up import put_up
from data_pipeline.tables.attached.take_down import take_down

__all__ = [
    "Attached",
    "Blocker",
    "Broken",
    "CannotCarryError",
    "ChangedError",
    "ComesLaterError",
    "Graph",
    "check_unchanged",
    "put_up",
    "read",
    "read_graph",
    "take_down",
]
