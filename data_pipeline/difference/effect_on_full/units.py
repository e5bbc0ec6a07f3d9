"""To which sampled unit a row belongs, so that it can stand for rows of full.

A row says so itself where its table carries the columns of the weights (`unit`, `probability`).
Otherwise it is found by the key of an input table among the row's columns: in the table with the
roles of that one's rows. Only where every row is found there is a table taken to belong to units.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, StageTable, quoted
from data_pipeline.difference.columns import ComparedColumn, read_columns
from data_pipeline.difference.versions import Version
from data_pipeline.estimates.intervals import DESIGN, PROBABILITY, SAMPLE_SIZE, UNIT
from data_pipeline.sampling.weights import ROW_HASH, roles_table
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.table_properties import Properties

NO_UNIT = (
    "of the sample only: the rows of this table belong to no sampled unit (where they do, carry "
    "`unit` and `probability` along, or declare `table_properties(unit=...)`)"
)

_IS_SAMPLED = "SELECT EXISTS (SELECT FROM {} WHERE role = 'sampled' AND probability < 1)"


@dataclass(frozen=True)
class Roles:
    """The table with the roles of an input table's rows.

    Attributes:
        table: The input table.
        relation: The table with the roles.
        row: What the catalog says of that.
        key: The key of the input table.
        columns: The columns of the table with the roles, by name.
        is_sampled: Whether it has rows that were sampled, and come with all that belongs to them;
            what is made by the key of others, that only some rows refer to, is not whole.
    """

    table: StageTable
    relation: RelationName
    row: CatalogRow
    key: tuple[str, ...]
    columns: Mapping[str, ComparedColumn]
    is_sampled: bool


@dataclass(frozen=True)
class Units:
    """How to find the unit of a row.

    Attributes:
        pairs: The columns of the row with those of the roles; none: the row says it itself.
        roles: The roles that they are found in.
        own: The names of the row's own columns.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    roles: Roles | None = None
    own: tuple[str, ...] = ()

    def join(self, alias: str) -> str:
        """Return the SQL that joins the facts of a row's unit; empty where it says them itself."""
        if self.roles is None:
            return ""
        same = " AND ".join(
            f"{alias}.{quoted(one)} = u{alias}.{quoted(other)}" for one, other in self.pairs
        )
        return f" LEFT JOIN {self.roles.relation.quoted} AS u{alias} ON {same}"

    def facts(self, alias: str) -> dict[str, str]:
        """Return the SQL of unit, probability, design and sample size of a row."""
        place = alias if self.roles is None else f"u{alias}"
        given = {
            name: f"{place}.{quoted(name)}"
            for name in (UNIT, PROBABILITY, DESIGN, SAMPLE_SIZE)
            if self.roles is not None or name in self.own
        }
        return {DESIGN: "'poisson'::text", SAMPLE_SIZE: "NULL::bigint"} | given


def roles_of(connection: sa.Connection, version: Version) -> list[Roles]:
    """Return the tables with roles of a sample, those of its roots first."""
    instance = version.name.instance
    found = []
    if instance.sample is None:  # filters choose the rows of each table by themselves
        return []
    for table in version.tables:
        there = version.tables.get(roles_table(table))
        if there is None or there.relation is None:
            continue
        relation = there.relation
        key = there.row.declared.primary_key
        if not key or key == (ROW_HASH,):
            continue
        columns = {column.name: column for column in read_columns(connection, relation)}
        is_sampled = bool(run(connection, _IS_SAMPLED.format(relation.quoted)).scalar_one())
        found.append(Roles(table, relation, there.row, key, columns, is_sampled))
    roots = {*instance.sample.roots}
    return sorted(found, key=lambda item: not {item.table.name, str(item.table)} & roots)


def find_units(
    connection: sa.Connection,
    table: StageTable,
    relation: RelationName,
    columns: Sequence[ComparedColumn],
    declared: Properties,
    known: Sequence[Roles],
) -> Units | None:
    """Return how to find the units of the rows of a table; None where they belong to none.

    Args:
        connection: A connection.
        table: Stage and name of the table.
        relation: Where it is.
        columns: Its columns.
        declared: What its asset declares; `unit` names the columns of the unit's key.
        known: The roles of the instance.
    """
    if declared.unit == ():
        return None
    by_name = {column.name: column for column in columns}
    if declared.unit is None and {UNIT, PROBABILITY} <= by_name.keys():
        own = by_name[UNIT].base == "int8" and by_name[PROBABILITY].base == "float8"
        return Units(own=tuple(by_name)) if own else None
    usable = [roles for roles in known if roles.is_sampled or roles.table == table]
    usable.sort(key=lambda roles: roles.table != table)
    for units in _candidates(by_name, declared.unit, usable):
        query = (
            f"SELECT EXISTS (SELECT FROM {relation.quoted} AS a{units.join('a')} "
            f"WHERE ua.{quoted(units.pairs[0][1])} IS NULL)"
        )
        if not run(connection, query).scalar_one():
            return units
    return None


def _candidates(
    columns: Mapping[str, ComparedColumn], unit: Sequence[str] | None, known: Sequence[Roles]
) -> Iterator[Units]:
    for roles in known:
        names = roles.key if unit is None else unit
        if len(names) != len(roles.key):
            continue
        pairs = tuple(zip(names, roles.key, strict=True))
        if all(one in columns and columns[one].base == roles.columns[k].base for one, k in pairs):
            yield Units(pairs, roles)
