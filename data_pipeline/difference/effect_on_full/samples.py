"""What a comparison has to do with a sample: of the same units twice, or of full against it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.difference.columns import ColumnPair, read_columns
from data_pipeline.difference.effect_on_full.effect import (
    effect,
    least_probability,
    units_bound,
)
from data_pipeline.difference.effect_on_full.units import (
    NO_UNIT,
    Roles,
    Units,
    find_units,
    roles_of,
)
from data_pipeline.difference.result import ColumnDifference, Effect, TableDifference
from data_pipeline.difference.rows import RowComparison
from data_pipeline.difference.versions import TableVersion, Version
from data_pipeline.instances import Instance
from data_pipeline.instances.instance import SAMPLE_STAGE
from data_pipeline.sampling.weights import roles_table

_DRAWN_ANEW = (
    "of the sample only: the sample was drawn anew since the earlier version was made, so its rows "
    "are not those of the same units"
)


@dataclass(frozen=True)
class Sample:
    """A sample that takes part in a comparison.

    Attributes:
        kind: Whether both versions are of the same sampled units, or the earlier or the later one
            is a sample of the other.
        roles: The tables with the roles of its rows.
        earlier: The tables of the earlier version.
    """

    kind: Literal["paired", "before", "after"]
    roles: Sequence[Roles]
    earlier: Mapping[StageTable, TableVersion] = field(default_factory=dict)

    def effect(
        self,
        connection: sa.Connection,
        a: TableVersion,
        b: TableVersion,
        comparison: RowComparison,
        columns: Sequence[ColumnDifference],
    ) -> Effect | None:
        """Return what the rows that differ mean for full; None where there is no sample."""
        units = self._units_of(connection, b, comparison.after)
        if units is not None and not self._is_the_same(a, units):
            return Effect(0, float("inf"), (), _DRAWN_ANEW)
        there = {pair.name for pair in comparison.columns.pairs}
        if units is not None and not {one for one, _ in units.pairs} <= there:
            units = None
        return effect(connection, comparison, units, [column.name for column in columns])

    def _units_of(
        self, connection: sa.Connection, version: TableVersion, relation: RelationName
    ) -> Units | None:
        columns = read_columns(connection, relation)
        declared = version.row.declared
        return find_units(connection, version.table, relation, columns, declared, self.roles)

    def _is_the_same(self, a: TableVersion, units: Units) -> bool:
        """Whether the sample is the one that the earlier version was made from."""
        for roles in [units.roles] if units.roles else self.roles:
            earlier = self.earlier.get(roles_table(roles.table))
            if earlier is not None and earlier.row.data_version == roles.row.data_version:
                continue
            made, drawn = a.row.committed_at, roles.row.committed_at
            if earlier is not None or (made and drawn and drawn > made):
                return False
        return True

    def against_full(
        self,
        connection: sa.Connection,
        a: TableVersion,
        b: TableVersion,
        pairs: Sequence[ColumnPair],
        plain: TableDifference,
    ) -> TableDifference:
        """Return how a table of full and of its sample compare."""
        from data_pipeline.difference.effect_on_full.full_against_sample import against_full

        sample, full = (a, b) if self.kind == "before" else (b, a)
        if sample.relation is None or full.relation is None:
            return plain
        units = self._units_of(connection, sample, sample.relation)
        if units is None:
            return replace(plain, status="sample only", notes=(NO_UNIT,))
        key = sample.row.declared.primary_key
        columns = [
            pair.before if self.kind == "before" else pair.after
            for pair in pairs
            if pair.name not in key
        ]
        found = against_full(connection, full.relation, sample.relation, columns, units)
        is_off = any(figure.is_off for figure in found.figures)
        status: Literal["changed", "schema", "equal"] = "changed" if is_off else "equal"
        if status == "equal" and plain.schema is not None:
            status = "schema"
        return replace(plain, status=status, sample=found)

    def notes(
        self,
        connection: sa.Connection,
        tables: Sequence[TableDifference],
        versions: Iterable[tuple[TableVersion | None, TableVersion | None]],
    ) -> Iterator[str]:
        """Say what the sample says of tables that do not differ."""
        if self.kind != "paired":
            compared = [table for table in tables if table.sample is not None]
            figures = sum(len(table.sample.figures) for table in compared if table.sample)
            yield f"{figures} figures of {len(compared)} tables were compared with sampling error"
            if alone := [f"`{table.table}`" for table in tables if table.status == "sample only"]:
                yield f"{', '.join(alone)}: {NO_UNIT}"
            return
        equal = {table.table for table in tables if table.status == "equal"}
        has_new_code = any(
            a and b and str(a.table) in equal and a.row.code_version != b.row.code_version
            for a, b in versions
        )
        if not has_new_code:
            return
        roles = self.roles[0]
        least = least_probability(connection, roles.relation, Units((), roles))
        if least is not None and least < 1:
            yield (
                f"where rows of units are equal on this sample of {100 * least:.3g} %, at most "
                f"{units_bound(0, least):,.0f} units of full change, with 95 % confidence"
            )


def sample_of(connection: sa.Connection, one: Version, other: Version) -> Sample | None:
    """Return the sample that takes part in a comparison; None where there is none."""
    a, b = one.name.instance, other.name.instance
    if a.instance_id == b.instance_id:
        roles = roles_of(connection, other) if a.copies else []
        return Sample("paired", roles, one.tables) if roles else None
    if _copies(b, a):
        return Sample("after", roles_of(connection, other))
    if _copies(a, b):
        return Sample("before", roles_of(connection, one))
    return None


def _copies(instance: Instance, other: Instance) -> bool:
    source = instance.source
    while source is not None:
        if source.instance_id == other.instance_id:
            return True
        source = source.source
    return False


def relations_with_roles(*versions: Version) -> list[RelationName]:
    """Return the tables that say which rows are sampled, and how."""
    return [
        item.relation
        for version in versions
        for table, item in version.tables.items()
        if table.stage == SAMPLE_STAGE and item.relation is not None
    ]
