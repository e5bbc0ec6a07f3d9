"""What the copies of an instance were chosen by, kept in its catalog in the table `source_facts`.

The next draw leaves a copy as it is where it would choose the same rows again, whatever has become
of other tables. What is kept speaks of the copy that the same draw made, and of no other: it serves
only while the catalog has the table with the query and the inputs that are kept with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import sqlalchemy as sa

from data_pipeline.instances import Instance
from data_pipeline.sampling.earlier.copies import CopyIdentity
from data_pipeline.sampling.earlier.kept_facts import fact_rows, put_facts
from data_pipeline.sampling.sample_request import Versions

_ABOUT = "copy of "


class How(Enum):
    """How the rows of a table came about."""

    WRITTEN = "in a copy that was written while they were chosen"
    CHOSEN = "known by their places"
    WHOLE = "all of them"


@dataclass(frozen=True)
class MadeBy:
    """What a copy was made by.

    Attributes:
        how: How its rows came about.
        version: Identity of what decides which rows are chosen, besides the data.
        inputs: Data versions of what they were chosen from.
    """

    how: How
    version: str
    inputs: Versions


def kept_copies(
    connection: sa.Connection, instance: Instance, place: str
) -> dict[str, tuple[MadeBy, CopyIdentity]]:
    """Return what copies were made by, with their identities, by table.

    Args:
        connection: A transaction.
        instance: The instance that samples.
        place: What tells its samples of these tables from others.
    """
    found = {}
    for about, content in fact_rows(connection, instance, place):
        if about.startswith(_ABOUT):
            made_by = MadeBy(How[content["how"]], content["version"], content["inputs"])
            identity = CopyIdentity(content["drawn"], content["every"])
            found[about.removeprefix(_ABOUT)] = made_by, identity
    return found


def keep_copies(
    connection: sa.Connection,
    instance: Instance,
    place: str,
    made: Mapping[str, tuple[MadeBy, CopyIdentity]],
) -> None:
    """Keep what copies are made by, beside the facts that the draw has used.

    Args:
        connection: The transaction of the draw.
        instance: The instance that samples.
        place: What tells its samples of these tables from others.
        made: What each is made by, and its identity, by table.
    """
    facts = {}
    for name, (made_by, identity) in made.items():
        content = {
            "how": made_by.how.name,
            "version": made_by.version,
            "inputs": dict(made_by.inputs),
            "drawn": identity.drawn,
            "every": identity.every,
        }
        facts[f"{_ABOUT}{name}"] = [name], content
    put_facts(connection, instance, place, facts)
