"""How large a sample will be, predicted from PostgreSQL's statistics and a small probe.

A drawn table has its rate of rows. What is only referred to has each of its rows with the chance
that some chosen row refers to it: 1 - (1 - q)^g for a row that g independent units refer to, of
which each is chosen with the rate q. How often values are referred to, the statistics say. Rows
that are drawn with the same root are one unit: how many of them refer to the same, a probe of some
roots with their children says. What a row refers to by two ways counts once, as a probe says, too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.settings.sample import Budget
from data_pipeline.sampling.engine.closure_limit import (
    Breach,
    ClosureLimitError,
    cuts_of,
    refusal,
)
from data_pipeline.sampling.engine.population import Populations
from data_pipeline.sampling.engine.sampled import unreached
from data_pipeline.sampling.engine.source_tables import (
    SourceTable,
    hash_alike,
    source_tables,
)
from data_pipeline.sampling.key_hash import hash_threshold, permanent_random_sql
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.sample_plan import SamplePlan, rate_note, with_rate
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.sampling.prediction.column_statistics import (
    ColumnStatistics,
    RowsOfUnits,
    column_statistics,
    probe,
    references_within,
)
from data_pipeline.sampling.prediction.probed_conditions import check_conditions, is_view
from data_pipeline.sampling.prediction.same_references import Way, same_references
from data_pipeline.sampling.prediction.same_roots import (
    owners,
    share_of_same_root,
    values_within_roots,
)
from data_pipeline.sampling.prediction.sizes import (
    Extent,
    TableSize,
    described,
    extents,
    measured,
    roots_have_no_more,
)

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
    units: dict[int, RowsOfUnits] = field(default_factory=dict)
    together: dict[int, float] = field(default_factory=dict)
    same: dict[int, list[tuple[Way, float]]] = field(default_factory=dict)
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
        tables = {n: source for n, source in sources.items() if not self._is_view(n)}
        for name in self.plan.tables:
            rows = self.extents[name].rows
            self.same |= same_references(self.connection, plan.graph, tables, name, rows)
        self._find_units(tables)
        for item in self.plan.graph.relationships:
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

    def breaches(self) -> Iterator[Breach]:
        """Say of which tables more come since others refer to them than `closure_limit` allows."""
        limit = self.plan.settings.closure_limit
        for name in self.plan.tables if limit is not None else ():
            share = self.chosen[name] - self.shown[name]
            if limit is not None and share > limit:
                items = [item for item in self.plan.graph.of_parent(name) if self._brings(item)]
                yield Breach(
                    f"Some {share:.0%} of `{name}` would come since others refer to them, over the "
                    f"limit of {limit:g}, so a run would refuse it. They come by "
                    f"{', '.join(map(str, items))}.",
                    cuts_of(self.plan, self.tables, items),
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

    def breaches_of(self, plan: SamplePlan) -> list[Breach]:
        """Say so of another plan."""
        if isinstance(budget := plan.settings.size, Budget):
            plan = with_rate(plan, _fitting(self, plan, budget))
        self.rows(plan)
        return list(self.breaches())

    def _brings(self, item: Relationship) -> bool:
        """Whether some rows come by a relationship."""
        part, referred = self._referred(item)
        return part * referred > 0

    def _inside(self, source: SourceTable) -> float:
        """Return the share of rows in the population."""
        if source.restriction is None:
            return 1.0
        rows: sa.FromClause = probe(source, self.extents[source.name].rows)
        if self._is_view(source.name):
            rows = source.table.alias("s")  # its rows were counted, too
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

    def _find_units(self, sources: Mapping[str, SourceTable]) -> None:
        """Find what rows that are drawn with one of a root have in common."""
        together: dict[tuple[str | None, str, frozenset[str]], list[Relationship]] = {}
        for item in self.plan.graph.relationships:
            child, parent = self.plan.tables[item.child], self.extents[item.parent]
            chain = {item.child, *(owner.parent for owner in owners(self.plan, item.child))}
            large = parent.rows > self.plan.settings.small_table_rows
            if child.root and child.owner != item and large and chain <= sources.keys():
                key = child.root, item.parent, frozenset(item.referenced_columns)
                together.setdefault(key, []).append(item)
        for (root, *_), items in together.items():
            rows = self.extents[root or ""].rows
            self.units |= values_within_roots(self.connection, self.plan, sources, items, rows)

    def _together(self, sources: Mapping[str, SourceTable], item: Relationship) -> float:
        """Return the share of references to rows that are drawn with the same row of a root."""
        both = [*owners(self.plan, item.child), *owners(self.plan, item.parent), item]
        if any(self._is_view(name) for way in both for name in (way.child, way.parent)):
            return 0.0
        rows = self.extents[item.child].rows
        return share_of_same_root(self.connection, self.plan, sources, item, rows)

    def _is_view(self, name: str) -> bool:
        return is_view(self.connection, self.tables[name])

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
        drawn = self.drawn[item.child] * self.inside[item.child]
        alone = max(0.0, rate - drawn) * (1 - self._same(item))
        drawn *= 1 - max(with_drawn, self._same(item, of_drawn=True))
        rows, parents = self.extents[item.child].rows, self.extents[item.parent].rows
        references = self._referring(item)
        if (of_population := self.referring.get(item.number)) is not None:
            # Who lies in the population may refer to others than who does not.
            references, inside = of_population, self.inside[item.child]
            rows *= inside
            drawn, alone = (rate / inside if inside else 0.0 for rate in (drawn, alone))
        units = self.units.get(item.number, RowsOfUnits())
        shown, _ = references.shown(rows, min(drawn, 1), units, min(alone, 1))
        part = 1.0
        if of_population is not None:
            part = references.values / parents
        elif len(item.columns) == 1:
            key = self.known[item.parent].get(item.referenced_columns[0])
            between = key.part_between(references.bounds) if key else 1.0
            part = max(references.values / parents, between)
        part = min(1.0, part)
        return part, min(1.0, shown / parents / part)

    def _same(self, item: Relationship, *, of_drawn: bool = False) -> float:
        """Return the share of references to rows that another way from the same row brings.

        What is drawn with the same root, such as another column of a drawn row, is in `units`.
        """
        tables = self.plan.tables
        return max(
            (
                share
                for way, share in self.same.get(item.number, ())
                if not any(map(self.plan.is_cut, way))
                if not of_drawn or tables[way[-1].child].root != tables[item.child].root
            ),
            default=0.0,
        )

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
                found += statistics.shown(rows, rate)[1]
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
) -> tuple[list[TableSize], str | None, tuple[str, ...]]:
    """Predict how many rows of each table a sample will have.

    Args:
        connection: To the source.
        plan: What will be chosen.
        tables: The relations of the source.

    Returns:
        The sizes, what is to be said of them, and why a run would refuse the sample.
    """
    known = extents(connection, tables)
    check_conditions(connection, plan, tables, known)
    prediction = _Prediction(connection, plan, tables, known)
    prediction.look()
    rates: list[str] = []
    fitted = plan
    if isinstance(budget := plan.settings.size, Budget):
        rate = _fitting(prediction, plan, budget)
        rates, fitted = [rate_note(plan, rate)], with_rate(plan, rate)
        size, wanted = measured(budget, prediction.sizes(fitted))
        if size > wanted * (1 + _FITTING):
            rates.append(
                f"the least is about {size / wanted:,.1f} times what is asked for, so a run is "
                "likely to refuse it: ask for more, lower small_table_rows, cut references, or "
                "cover less"
            )
        elif size < wanted * (1 - _FITTING):
            rates.append(roots_have_no_more(size, wanted))
    found = prediction.sizes(fitted)
    refused = [*prediction.too_few()]
    if breaches := list(prediction.breaches()):
        error = ClosureLimitError(breaches, rates[0] if rates else None)
        refused.append(refusal(plan, error, prediction.breaches_of))
    return found, "\n  ".join(rates) or None, tuple(refused)


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
