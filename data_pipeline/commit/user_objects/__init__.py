"""What users attached to a stage's tables: kept while the tables themselves are replaced.

`read` finds everything that hangs on a set of relations, `take_down` drops it, and, after the
caller has put other relations in their places, `put_up` puts it up on those. All three belong into
one transaction with an empty search path; `check_unchanged`, in another session, tells whether
users have changed any of it meanwhile.
"""

from data_pipeline.commit.user_objects.capture import Attached, check_unchanged, read, take_down
from data_pipeline.commit.user_objects.dependency_graph import (
    Blocker,
    Broken,
    CannotCarryError,
    ChangedError,
    ComesLaterError,
    Graph,
    read_graph,
)
from data_pipeline.commit.user_objects.restore import put_up

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
