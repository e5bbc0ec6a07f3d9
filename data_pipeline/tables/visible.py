"""Where a table is for a reader: what its run has staged, or else what is committed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from data_pipeline.instances import Instance
from data_pipeline.tables import catalog, staging
from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.names import RelationName, StageTable
from data_pipeline.tables.relation_state import judge, read_states


@dataclass(frozen=True)
class Visible:
    """A table as a run sees it.

    Attributes:
        relation: Its relation, which need not exist: it is a blob, not built yet, or gone.
        row: Its catalog row, with the version of the data that is there; None where there is none.
        change: What somebody did to it by hand since it was committed.
    """

    relation: RelationName
    row: CatalogRow | None
    change: str | None = None

    @property
    def is_blob(self) -> bool:
        """Whether it is no relation but a file."""
        return self.row is not None and self.row.kind == "blob"

    @property
    def is_only_row(self) -> bool:
        """Whether nothing of it is kept here but its row."""
        return self.row is not None and self.row.kind in catalog.WITHOUT_VALUE


def committed(instance: Instance, table: StageTable) -> RelationName:
    """Names the relation of a table as readers see it."""
    return RelationName(instance.schema(table.stage), table.name)


def visible(
    connection: sa.Connection, instance: Instance, table: StageTable, run_id: str | None
) -> Visible:
    """Gives a table as a run sees it; as everybody else does, without a run."""
    staged = staging.row(connection, instance, run_id, table) if run_id else None
    if staged is not None:
        return Visible(staging.relation_of(instance, table), staged)
    row = catalog.row(connection, instance.catalog_schema, table)
    return Visible(committed(instance, table), row)


def looked_at(connection: sa.Connection, found: Sequence[Visible]) -> list[Visible]:
    """Return committed tables with the version of the data that is there now.

    Results must not pass for computed from what was committed if somebody has changed that by hand.
    """
    relations = [item.relation for item in found if item.row and item.row.is_relation]
    states = read_states(connection, relations)
    looked = []
    for item in found:
        if item.row is not None and item.relation in states:
            known = [(item.relation, item.row, states[item.relation])]
            [verdict] = judge(connection, known, look_at_small=True)
            item = replace(item, row=verdict.seen(item.row), change=verdict.change)
        looked.append(item)
    return looked
