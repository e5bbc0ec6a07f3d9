"""How large a sample will be, predicted from PostgreSQL's statistics and a small probe.

A drawn table has its rate of rows. What is only referred to has each of its rows with the chance
that some chosen row refers to it: 1 - (1 - q)^g for a row that g independent units refer to, of
which each is chosen with the rate q. How often values are referred to, the statistics say. Rows
that are drawn with the same root are one unit: how many of them refer to the same, a probe of some
roots with their children says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.relations import relation_kind
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.settings.sample import Budget
from data_pipeline.sampling.engine.closure_limit import cut_of, remedy
from data_pipeline.sampling.engine.population import Populations
from data_pipeline.sampling.engine.sampled import unreached
from data_pipeline.sampling.engine.source_tables import (
    SourceTable,
    hash_alike,
    matches,
    source_tables,
)
from data_pipeline.sampling.key_hash import hash_threshold, permanent_random_sql
from data_pipeline.sampling.plan.sample_plan import SamplePlan, rate_note, with_rate
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.sampling.plan.table_plans import SamplePart
from data_pipeline.sampling.prediction.column_statistics import (
    ColumnStatistics,
    column_statistics,
    probe,
    references_within,
)
from data_pipeline.sampling.prediction.probed_conditions import check_conditions
from data_pipeline.sampling.prediction.same_roots import owners, share_of_same_root
from data_pipeline.sampling.prediction.sizes import Extent, TableSize, described, extents, measured

_PROBED_ROOTS = 300
_COUNTED_ROWS = 200_000
_ROUNDS = 50
_HALVINGS = 24
_LEAST_RATE = 1e-7
_FITTING = 0.1


@dataclass
class _Prediction:
    connection: sa.Connection
    plan: SamplePlan
    tables: Mapping[str, sa.Table]
    extents: Mapping[str, Extent]
    inside: dict[str, float] = field(default_factory=dict)
    drawn: dict[str, float] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)
    chosen: dict[str, float] = field(default_factory=dict)
    alike: dict[int, float] = field(default_factory=dict)
    together: dict[int, float] = field(default_factory=dict)
    known: dict[str, Mapping[str, ColumnStatistics]] = field(default_factory=dict)
    referring: dict[int, ColumnStatistics | None] = field(default_factory=dict)

    def look(self) -> None:
        """Find out what does not depend on rates."""
        populations = Populations(self.plan, self.tables)
        restrictions = {name: populations.restriction(name) for name in self.tables}
        sources = source_tables(
            self.connection, self.plan.graph, self.tables, restrictions, self.plan.where
        )
        for name in self.plan.tables:
            self.inside[name] = self._inside(sources[name])
            self.known[name] = column_statistics(
                self.connection, self.tables[name], self.extents[name].rows
            )
        limit, plan = self.plan.settings.small_table_rows, self.plan
        large = [
            name
            for name, table in plan.tables.items()
            if table.part is SamplePart.WHOLE and name not in plan.whole and not plan.is_minimal
            if self.extents[name].rows * self.inside[name] > limit
        ]
        if large:
            raise ConfigurationError(unreached(plan, large))
        for item in self.plan.graph.relationships:
            self.alike[item.number] = self._alike(sources, item)
            self.together[item.number] = self._together(sources, item)
            child = sources[item.child]
            if child.restriction is not None and not self._is_view(item.child):
                rows = self.extents[item.child].rows
                found = references_within(self.connection, child, item, rows)
                self.referring[item.number] = found

    def rows(self, plan: SamplePlan) -> dict[str, float]:
        """Return the expected number of rows of each table, by a plan with some rates."""
        self.plan = plan
        for name in self.plan.tables:
            self.drawn[name] = self._drawn(name)
        self.chosen = {name: self.drawn[name] * self.inside[name] for name in self.drawn}
        drawn = dict(self.chosen)
        self._close(drawn)
        self.shown = {n: min(1.0, share + self._witnesses(n)) for n, share in drawn.items()}
        self._close(self.shown)
        return {name: self.chosen[name] * self.extents[name].rows for name in self.chosen}

    def sizes(self, plan: SamplePlan) -> list[TableSize]:
        """Return the expected sizes of the tables."""
        rows = self.rows(plan)
        return [
            TableSize.of(
                name,
                described(plan, name, is_whole=self.drawn[name] == 1),
                rows[name],
                self.extents[name],
            )
            for name in plan.graph.keys
        ]

    def over_limit(self) -> Iterator[str]:
        """Say of which tables more come since others refer to them than `closure_limit` allows."""
        limit = self.plan.settings.closure_limit
        for name in self.plan.tables if limit is not None else ():
            share = self.chosen[name] - self.shown[name]
            if limit is not None and share > limit:
                items = [item for item in self.plan.graph.of_parent(name) if self._brought(item)]
                found = {item: cut_of(self.plan, self.tables, item) for item in items}
                fixed = [self._brought(item) for item, cut in found.items() if cut is None]
                cuts = [cut for cut in found.values() if cut is not None]
                advice = remedy(cuts, suffice=max(fixed, default=0.0) <= limit)
                yield (
                    f"sample.closure_limit: some {share:.0%} of `{name}` would come since others "
                    f"refer to them, over the limit of {limit:g}, so a run would refuse it. They "
                    f"come by {', '.join(map(str, items))}. {advice}"
                )

    def too_few(self) -> Iterator[str]:
        """Say of which roots more rows are asked for than there are."""
        for name, root in self.plan.roots.items():
            rows = self.extents[name].rows * self.inside[name]
            if root.rows is not None and root.rows > rows:
                yield (
                    f"sample.roots: {root.rows:,} rows of `{name}` cannot be drawn: it has some "
                    f"{rows:,.0f}, so a run would refuse that. Ask for fewer, or {{rate: 1}}."
                )

    def _brought(self, item: Relationship) -> float:
        """Return the share of a parent's rows that chosen rows of one child refer to."""
        part, referred = self._referred(item)
        return part * referred

    def _inside(self, source: SourceTable) -> float:
        """Return the share of rows in the population."""
        if source.restriction is None or self._is_view(source.name):
            return 1.0
        rows = probe(source, self.extents[source.name].rows)
        holds = sa.and_(*source.within(rows))
        query = sa.select(sa.func.count().filter(holds), sa.func.count()).select_from(rows)
        found, looked_at = self.connection.execute(query).one()
        return found / looked_at if looked_at else 1.0

    def _drawn(self, name: str) -> float:
        """Return the rate of a table's rows, of its population."""
        plan, limit = self.plan, self.plan.settings.small_table_rows
        table = plan.tables[name]
        if plan.is_minimal:
            return 1.0 if name in plan.whole else 0.0
        if table.root is not None:
            rate = self._rate(table.root)
            return self._drawn_share(name, rate) if self._is_told(name, rate) else rate
        few = self.extents[name].rows * self.inside[name] <= limit
        return float(few or table.part is SamplePart.WHOLE)

    def _is_told(self, name: str, rate: float) -> bool:
        """Whether references alone tell which rows of a child are drawn, and are quickly read.

        Where few roots have all of the children, these are far from what is to be expected.
        """
        plan, owner = self.plan, self.plan.tables[name].owner
        if owner is None or not is_told_by_reference(plan, owner, self.tables) or rate == 1:
            return False
        is_fixed = plan.roots[owner.parent].rate is not None
        return is_fixed and self.extents[name].rows <= _COUNTED_ROWS

    def _drawn_share(self, name: str, rate: float) -> float:
        owner = self.plan.tables[name].owner
        if owner is None:
            raise AssertionError(f"{name} has no owner")
        rows = self.tables[name].alias("s")
        names = owner.in_order_of(self.plan.graph.keys[owner.parent])
        number = permanent_random_sql([rows.c[column] for column in names], self.plan.salt)
        below = sa.cast(sa.literal(hash_threshold(rate), sa.BigInteger), sa.BigInteger)
        refers = sa.and_(*(rows.c[column].is_not(None) for column in names))
        drawn = sa.func.count().filter(refers, number < below)
        counts = sa.select(drawn, sa.func.count().filter(refers), sa.func.count())
        found, referring, every = self.connection.execute(counts).one()
        return (found + rate * (every - referring)) / every if every else rate

    def _rate(self, root: str) -> float:
        settings, rows = self.plan.roots[root], self.extents[root].rows * self.inside[root]
        if settings.rows is not None:
            return min(1.0, settings.rows / rows) if rows else 1.0
        return 1.0 if settings.rate is None else settings.rate

    def _referring(self, item: Relationship) -> ColumnStatistics:
        """Return the statistics of references; of several columns, as if each value were alike."""
        parents, children = self.extents[item.parent].rows, self.extents[item.child].rows
        known = [self.known[item.child].get(name) for name in item.columns]
        if len(known) == 1 and known[0] is not None:
            found = known[0]
            return replace(found, values=min(found.values, max(parents, 1)))
        nulls = max((one.nulls for one in known if one is not None), default=0.0)
        values = max((one.values for one in known if one is not None), default=1.0)
        return ColumnStatistics(nulls, max(min(parents, children), min(values, parents), 1.0))

    def _alike(self, sources: Mapping[str, SourceTable], item: Relationship) -> float:
        """Return the number of values that rows of a root refer to, for each of these rows."""
        above_child = list(owners(self.plan, item.child))
        chain = {item.child, *(owner.parent for owner in above_child)}
        small = self.extents[item.parent].rows <= self.plan.settings.small_table_rows
        if not above_child or small or any(map(self._is_view, chain)):
            return 1.0
        root = sources[above_child[-1].parent]
        percent = min(100.0, max(0.001, 200 * _PROBED_ROOTS / max(self.extents[root.name].rows, 1)))
        some = root.table.tablesample(sa.func.system(percent), name="probed", seed=sa.literal(0))
        place: sa.ColumnElement[Any] = sa.literal_column("probed.ctid")
        units = sa.select(*some.c, place.label("unit")).limit(_PROBED_ROOTS).subquery("units")
        above: sa.FromClause = units
        rows: sa.FromClause = units
        for number, owner in enumerate(reversed(above_child)):
            child = sources[owner.child].all_rows(f"child_{number}")
            above = above.join(child, matches(owner, child, rows))
            rows = child
        values = [rows.c[name] for name in item.columns]
        refers = sa.and_(*(value.is_not(None) for value in values))
        pairs = sa.func.count(sa.distinct(sa.tuple_(units.c.unit, *values)))
        query = sa.select(sa.func.count(), pairs).select_from(above).where(refers)
        count, different = self.connection.execute(query).one()
        return different / count if count else 1.0

    def _together(self, sources: Mapping[str, SourceTable], item: Relationship) -> float:
        """Return the share of references to rows that are drawn with the same row of a root."""
        both = [*owners(self.plan, item.child), *owners(self.plan, item.parent), item]
        if any(self._is_view(name) for way in both for name in (way.child, way.parent)):
            return 0.0
        rows = self.extents[item.child].rows
        return share_of_same_root(self.connection, self.plan, sources, item, rows)

    def _is_view(self, name: str) -> bool:
        table = self.tables[name]
        relation = RelationName(table.schema or "public", table.name)
        return relation_kind(self.connection, relation) == "VIEW"

    def _close(self, base: Mapping[str, float]) -> None:
        """Add what chosen rows refer to, until nothing changes."""
        self.chosen = dict(base)
        for _ in range(_ROUNDS):
            before = dict(self.chosen)
            for name in self.plan.tables:
                if base[name] < 1:
                    referred = 1 - self._missed(name)
                    self.chosen[name] = base[name] + (1 - base[name]) * referred
            if all(abs(self.chosen[n] - before[n]) <= 1e-4 * before[n] for n in before):
                return

    def _missed(self, name: str) -> float:
        """Return the share of a table's rows that no chosen row refers to.

        Children refer to a part of the rows, such as the days of some years; the smaller part is
        taken to be within the larger one, and chosen rows to be independent there.
        """
        parts = sorted(self._referred(item) for item in self.plan.graph.of_parent(name))
        missed, inside = 1.0, 0.0
        for number, (part, _) in enumerate(parts):
            chance = 1.0
            for _, other in parts[number:]:
                chance *= 1 - other
            missed -= (part - inside) * (1 - chance)
            inside = part
        return max(0.0, missed)

    def _referred(self, item: Relationship) -> tuple[float, float]:
        """Return which part of a parent's rows can be referred to, and how much of that is."""
        owner = self.plan.tables[item.child].owner
        rate = self.chosen[item.child]
        if self.plan.is_cut(item) or not rate or not self.extents[item.parent].rows:
            return 0.0, 0.0
        # Drawn rows came with what they refer to, or that comes with their root, too.
        with_drawn = 1.0 if owner == item else self.together[item.number]
        rate = max(0.0, rate - with_drawn * self.drawn[item.child] * self.inside[item.child])
        rows, parents = self.extents[item.child].rows, self.extents[item.parent].rows
        references = self._referring(item)
        if (of_population := self.referring.get(item.number)) is not None:
            # Who lies in the population may refer to others than who does not.
            references, inside = of_population, self.inside[item.child]
            rows, rate = rows * inside, rate / inside if inside else 0.0
        shown, _ = references.shown(rows, min(rate, 1), self.alike[item.number])
        part = 1.0
        if of_population is not None:
            part = references.values / parents
        elif len(item.columns) == 1:
            key = self.known[item.parent].get(item.referenced_columns[0])
            between = key.part_between(references.bounds) if key else 1.0
            part = max(references.values / parents, between)
        part = min(1.0, part)
        return part, min(1.0, shown / parents / part)

    def _witnesses(self, name: str) -> float:
        """Return the share of rows that show what others do not: categories, extremes, fan-outs."""
        rows = self.extents[name].rows
        return self._witness_rows(name) / rows if rows and self.chosen[name] < 1 else 0.0

    def _witness_rows(self, name: str) -> float:
        if self.plan.is_minimal or self.plan.cover.covers_nothing:
            return 1.0 if not self.chosen[name] else 0.0
        limit, rows = self.plan.cover.category_limit, self.extents[name].rows
        columns = self.plan.columns
        names = self.known[name] if columns is None else columns.get(name, ())
        altered = self.plan.altered(name)
        known = [self.known[name][n] for n in names if n in self.known[name] and n not in altered]
        found = 0.0
        for statistics in sorted(known, key=lambda one: -one.values):
            rate = min(1.0, self.chosen[name] + found / rows)  # they show what others have, too
            if statistics.values <= limit:
                found += statistics.shown(rows, rate, 1.0)[1]
            else:
                found += 2 * (1 - rate)
        if self.plan.cover.fan_outs:
            found += 2 * len(list(self.plan.graph.of_parent(name))) * (1 - self.chosen[name])
            found += sum(map(self._most_children, self.plan.graph.of_child(name)))
        return min(found, rows * (1 - self.chosen[name]))

    def _most_children(self, item: Relationship) -> float:
        """Return how many rows come with the parent that has the most, if they do."""
        rows = self.extents[item.child].rows
        common = self._referring(item).common
        count = common[0] * rows if common else 1.0
        return count * (1 - self.chosen[item.child]) if count <= max(100, rows / 1000) else 0.0


def predicted_sizes(
    connection: sa.Connection, plan: SamplePlan, tables: Mapping[str, sa.Table]
) -> tuple[list[TableSize], str | None]:
    """Predict how many rows of each table a sample will have; and say what is to be said of that.

    Args:
        connection: To the source.
        plan: What will be chosen.
        tables: The relations of the source.
    """
    known = extents(connection, tables)
    check_conditions(connection, plan, tables, known)
    prediction = _Prediction(connection, plan, tables, known)
    prediction.look()
    rates: list[str] = []
    if isinstance(budget := plan.settings.size, Budget):
        rate = _fitting(prediction, plan, budget)
        rates, plan = [rate_note(plan, rate)], with_rate(plan, rate)
        size, wanted = measured(budget, prediction.sizes(plan))
        if abs(size - wanted) > _FITTING * wanted:
            rates.append(f"that is as near as it gets, {size / wanted:.0%} of it")
    found = prediction.sizes(plan)
    return found, "\n  ".join([*rates, *prediction.too_few(), *prediction.over_limit()]) or None


def predicted_rate(
    connection: sa.Connection, plan: SamplePlan, tables: Mapping[str, sa.Table], budget: Budget
) -> float:
    """Predict the rate at which a sample has a size."""
    prediction = _Prediction(connection, plan, tables, extents(connection, tables))
    prediction.look()
    return _fitting(prediction, plan, budget)


def _fitting(prediction: _Prediction, plan: SamplePlan, budget: Budget) -> float:
    low, high = _LEAST_RATE, 1.0
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        size, wanted = measured(budget, prediction.sizes(with_rate(plan, middle)))
        low, high = (middle, high) if size < wanted else (low, middle)
    return high


def is_told_by_reference(
    plan: SamplePlan, owner: Relationship, tables: Mapping[str, sa.Table]
) -> bool:
    """Whether rows are drawn by the hash of their reference: it is the key of a root."""
    is_root = plan.tables[owner.parent].part is SamplePart.ROOT
    child, parent = tables[owner.child], tables[owner.parent]
    return is_root and owner.refers_to_key and hash_alike(owner, child, parent)
