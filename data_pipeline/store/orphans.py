"""Orphans: results that no asset makes any more, since it was renamed, moved or deleted.

The catalog keeps the code location that made a result (`made_in`), and the one that last had an
asset of its name (`seen_in`). Several code locations may write to one instance: an orphan of one is
what it was the last to have, and has no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from data_pipeline.database.identifiers import SLICE_MARK, StageTable
from data_pipeline.instances import Instance
from data_pipeline.store import catalog
from data_pipeline.store.catalog import CatalogRow


@dataclass(frozen=True)
class CodeLocation:
    """The code that definitions come from.

    Attributes:
        name: Its name, the same for all who run it: the module that makes the definitions.
        tables: The tables and blobs of all of its assets.
        sliced: The job that builds the slices of each table that has some.
    """

    name: str
    tables: frozenset[StageTable]
    sliced: Mapping[StageTable, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Orphans:
    """What no asset of a code location makes.

    Attributes:
        own: What the code location was the last to have.
        unknown: What no code location is known to have had: nobody but its owner may drop it.
    """

    own: Sequence[CatalogRow] = ()
    unknown: Sequence[CatalogRow] = ()

    def __str__(self) -> str:
        names = [f"`{row.table}`" for row in self.own if not row.slice.get("key")]
        unknown = (row for row in self.unknown if not row.slice.get("key"))
        names += [f"`{row.table}` (of unknown origin)" for row in unknown]
        return ", ".join(names)


def note_seen(connection: sa.Connection, instance: Instance, location: CodeLocation) -> None:
    """Note which results a code location has assets for, whoever has made them.

    What a run makes itself is noted when it is committed. A row that a step keeps from changing is
    left to the next run.
    """
    table = catalog.origins(instance.catalog_schema)
    key = sa.tuple_(table.c.stage, table.c.name)
    name = sa.func.split_part(sa.func.coalesce(table.c.part_of, table.c.name), SLICE_MARK, 1)
    asset = sa.tuple_(table.c.stage, name)
    has = asset.in_(sorted((item.stage, item.name) for item in location.tables))
    other = table.c.seen_in.is_distinct_from(location.name)
    free = sa.select(table.c.stage, table.c.name).where(has, other)
    free = free.with_for_update(skip_locked=True)
    noted = sa.update(table).where(key.in_(free)).values(seen_in=location.name)
    connection.execute(noted)


def orphans(connection: sa.Connection, instance: Instance, location: CodeLocation) -> Orphans:
    """Return what no asset of a code location makes any more, or of which nobody knows."""
    rows = catalog.rows(connection, instance.catalog_schema).values()
    gone = [row for row in rows if row.asset.whole not in location.tables]
    return Orphans(
        [row for row in gone if row.seen_in == location.name],
        [row for row in gone if row.seen_in is None],
    )
