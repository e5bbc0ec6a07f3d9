"""What users attached to a stage's tables: kept while the tables themselves are replaced.

`read` finds everything that is attached to a set of relations, `drop_statements` drop it; after
the caller has put other relations in their places, `restore_objects` puts it on those. All three
belong into one transaction with an empty search path; `check_unchanged`, in another session, tells
whether users have changed any of it meanwhile.
"""

from data_pipeline.commit.user_objects.capture import (
    UserObjects,
    check_unchanged,
    drop_statements,
    read,
)
from data_pipeline.commit.user_objects.restore import Broken, ComesLaterError, restore_objects

__all__ = [
    "Broken",
    "ComesLaterError",
    "UserObjects",
    "check_unchanged",
    "drop_statements",
    "read",
    "restore_objects",
]
