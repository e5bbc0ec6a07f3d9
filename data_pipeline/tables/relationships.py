"""Relationships between tables: how many references there are, and how many of them dangle."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.tables.names import RelationName, StageTable
from data_pipeline.tables.table import ForeignKey
from data_pipeline.tables.table_checks import EXAMPLES, key_text


@dataclass(frozen=True)
class References:
    """References of one relationship.

    A reference with a NULL in it refers to nothing, nor does one that its condition is not true of.

    Attributes:
        total: Rows that refer to something.
        dangling: Those of them whose referenced row does not exist.
        lost: Those of them, in turn, whose referenced row exists in another copy of the table; 0
            without one.
        examples: Keys that dangle, the most frequent first: lost ones, where there are any.
    """

    total: int
    dangling: int
    lost: int
    examples: tuple[str, ...]

    @property
    def share(self) -> float:
        """The dangling share, 0 to 1."""
        return self.dangling / self.total if self.total else 0.0


def referenced_table(referring: StageTable, key: ForeignKey) -> StageTable:
    """Gives the table that a foreign key of `referring` refers to."""
    stage, _, name = key.references.rpartition("/")
    return StageTable(stage or referring.stage, name)


def relationship_name(key: ForeignKey) -> str:
    """Gives a relationship in words: `dest -> airports (faa)`."""
    condition = f" where {key.where}" if key.where else ""
    columns, referenced = ", ".join(key.columns), ", ".join(key.referenced_columns)
    return f"{columns} -> {key.references} ({referenced}){condition}"


def references(
    connection: sa.Connection,
    key: ForeignKey,
    referring: RelationName,
    referenced: RelationName,
    elsewhere: RelationName | None = None,
) -> References:
    """Counts the references of a relationship, in one query.

    Args:
        connection: To the database of all these relations.
        key: The relationship.
        referring: The table that refers.
        referenced: The table it refers to.
        elsewhere: Another copy of the referenced table, in which dangling references are looked up.
    """
    query = _query(key, referring, referenced, elsewhere)
    total, dangling, lost, examples = connection.execute(query).one()
    return References(int(total), int(dangling), int(lost), tuple(examples))


def _query(
    key: ForeignKey,
    referring: RelationName,
    referenced: RelationName,
    elsewhere: RelationName | None,
) -> sa.Select[int, int, int, list[str]]:
    names = [f"k{number}" for number in range(len(key.columns))]
    table = _clause(referring, key.columns)
    columns = [table.c[name] for name in key.columns]
    refers: list[sa.ColumnElement[bool]] = [column.is_not(None) for column in columns]
    if key.where is not None:
        refers.append(sa.literal_column(f"(({key.where}) IS TRUE)", sa.Boolean))
    used = (
        sa.select(
            *(column.label(name) for column, name in zip(columns, names, strict=True)),
            sa.func.count().label("n"),
        )
        .where(*refers)
        .group_by(*columns)
        .cte("used")
    )
    keys = [used.c[name] for name in names]
    lost = sa.false() if elsewhere is None else _exists(key, keys, elsewhere)
    dangling = (
        sa.select(used.c.n, key_text(keys).label("key"), lost.label("lost"))
        .where(~_exists(key, keys, referenced))
        .cte("dangling")
    )
    any_lost = sa.select(sa.func.bool_or(dangling.c.lost)).scalar_subquery()
    some = (
        sa.select(dangling.c.key)
        .where(dangling.c.lost == any_lost)
        .order_by(dangling.c.n.desc(), dangling.c.key)
        .limit(EXAMPLES)
    )
    return sa.select(
        _sum(sa.select(sa.func.sum(used.c.n))),
        _sum(sa.select(sa.func.sum(dangling.c.n))),
        _sum(sa.select(sa.func.sum(dangling.c.n)).where(dangling.c.lost)),
        sa.func.array(some.scalar_subquery()),
    )


def _exists(
    key: ForeignKey, values: Sequence[sa.ColumnElement[Any]], relation: RelationName
) -> sa.Exists:
    table = _clause(relation, key.referenced_columns)
    columns = [table.c[name] for name in key.referenced_columns]
    pairs = zip(columns, values, strict=True)
    return sa.exists().select_from(table).where(*(column == value for column, value in pairs))


def _sum(query: sa.Select[Any]) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(query.scalar_subquery(), 0)


def _clause(relation: RelationName, columns: Sequence[str]) -> sa.TableClause:
    return sa.table(relation.name, *map(sa.column, columns), schema=relation.schema)
