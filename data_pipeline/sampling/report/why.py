"""Why a row is in a sample, or is not."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.sampling.key_hash import hash_threshold, permanent_random_sql
from data_pipeline.sampling.report.sampled_row import Facts, RowId, Rows
from data_pipeline.sampling.sample_plan import Part, SamplePlan, TablePlan
from data_pipeline.sampling.schema_graph import Relationship

_MOST_LOOKED_AT = 200


@dataclass(frozen=True)
class Why:
    """Explains the rows of a sample.

    Attributes:
        rows: Its rows.
        plan: What it was chosen by.
    """

    rows: Rows
    plan: SamplePlan

    def explain(self, row: RowId) -> Iterator[str]:
        """Gives the explanation of a row, line by line."""
        facts = self.rows.facts(row)
        if facts.role is None:
            yield f"{self.rows.shown(row)} is not in the sample"
            yield from self._absent(row)
            return
        weight = "no weight"
        if facts.probability:
            chance, counts = f"{facts.probability:.6g}", f"{1 / facts.probability:.6g}"
            weight = f"inclusion probability {chance}, weight {counts}"
        yield f"{self.rows.shown(row)} is in the sample: {facts.role}, {weight}"
        yield from self._present(row, facts)

    def _present(self, row: RowId, facts: Facts) -> Iterator[str]:
        if facts.role == "reference":
            yield from self._referenced(row)
        elif facts.role in ("witness", "pinned"):
            yield f"  {_of_witness(facts)}"
        else:
            yield from self._sampled(row, facts)

    def _sampled(self, row: RowId, facts: Facts) -> Iterator[str]:
        table = self.plan.tables[row.table]
        if table.part in (Part.WHOLE, Part.REFERENCED):
            yield f"  the table comes whole: {_whole(self.plan, table)}"
        elif table.owner is None:
            yield from self._root(row, facts)
        else:
            yield from self._child(row, table.owner, facts)

    def _root(self, row: RowId, facts: Facts) -> Iterator[str]:
        if facts.probability != 1.0:
            yield f"  {self._hash(row)}"
            return
        settings = self.plan.roots[row.table]
        if settings.rate == 1:
            yield "  the table comes whole: its rate is 1"
            return
        counts = [
            f"{self.rows.count_referring(row, child.owner):,} of {child.name}"
            for child in self.plan.owned_by(row.table)
            if child.owner is not None
        ]
        yield f"  it is a hub, which every sample has: {', '.join(counts) or 'no'} rows refer to it"
        if settings.rows is not None:
            yield f"  (or all rows were asked for: {settings.rows:,})"

    def _child(self, row: RowId, item: Relationship, facts: Facts) -> Iterator[str]:
        does, parent = self.rows.parent(row, item)
        if not does:
            yield f"  it refers to nothing by {item}, so its own key decides: {self._hash(row)}"
        elif parent is None:
            yield f"  by {item} it refers to a row that does not exist; the hash of the reference"
            yield "  decides, as if it did, and is below the threshold"
        else:
            above = self.rows.facts(parent)
            if above.probability == 1.0 and (facts.probability or 0.0) < 1.0:
                yield f"  by {item} it belongs to the hub {self.rows.shown(parent)},"
                yield f"  of whose rows its own key chooses some: {self._hash(row)}"
            else:
                yield f"  sampled with {self.rows.shown(parent)}, by {item}"
                yield from self._sampled(parent, above)

    def _referenced(self, row: RowId) -> Iterator[str]:
        """Follows references back to a row that is there for a reason of its own."""
        came: dict[RowId, tuple[RowId, Relationship] | None] = {row: None}
        queue = [row]
        for found in queue:  # grows while it is gone through
            facts = self.rows.facts(found)
            if facts.role not in (None, "reference"):
                yield from self._path(found, came)
                yield f"  {self.rows.shown(found)} is there since: {facts.role}"
                yield from self._present(found, facts)
                return
            if len(came) > _MOST_LOOKED_AT:
                break
            for item in self.plan.graph.of_parent(found.table):
                for other in self.rows.referring(found, item):
                    if other not in came:
                        came[other] = (found, item)
                        queue.append(other)
        facts = self.rows.facts(row)
        yield f"  {facts.reason}; the path from a row that was chosen is too long to be followed"

    def _path(
        self, start: RowId, came: dict[RowId, tuple[RowId, Relationship] | None]
    ) -> Iterator[str]:
        lines = []
        step = came[start]
        at = start
        while step is not None:
            below, item = step
            lines.append(f"  {self.rows.shown(at)} refers to {self.rows.shown(below)} by {item}")
            at, step = below, came[below]
        yield from reversed(lines)

    def _absent(self, row: RowId) -> Iterator[str]:
        table = self.plan.tables[row.table]
        if self.plan.is_minimal:
            yield "  the sample is minimal: the least that keeps joins non-empty, and pins"
        elif table.part in (Part.WHOLE, Part.REFERENCED):
            yield "  no row of the sample refers to it, and it is no witness"
        elif table.owner is None:
            yield f"  {self._hash(row)}"
        else:
            yield from self._absent_child(row, table.owner)
        yield "  nothing in the sample refers to it, no pin names it, and it is no witness"

    def _absent_child(self, row: RowId, item: Relationship) -> Iterator[str]:
        does, parent = self.rows.parent(row, item)
        if not does:
            yield f"  it refers to nothing by {item}, so its own key decides: {self._hash(row)}"
            return
        if parent is None:
            yield f"  by {item} it refers to a row that does not exist; the hash of the reference"
            yield "  decides, as if it did, and is above the threshold"
            return
        above = self.rows.facts(parent)
        if above.probability == 1.0:
            yield f"  by {item} it belongs to the hub {self.rows.shown(parent)},"
            yield f"  of whose rows its own key chooses some: {self._hash(row)}"
        elif above.role is None:
            yield f"  it would be sampled with {self.rows.shown(parent)}, which is not there:"
            yield from list(self._absent(parent))[:-1]
        else:
            yield f"  {self.rows.shown(parent)} is there as {above.role} only, which brings no rows"
            yield f"  that refer to it by {item}"

    def _hash(self, row: RowId) -> str:
        """Compares the hash of a row's key with the threshold of its root."""
        table = self.plan.tables[row.table]
        settings = self.plan.roots[table.root or row.table]
        number = self.rows.number(row, self.plan.salt)
        below, words = _threshold(settings.rate), f"the threshold of rate {settings.rate}"
        if settings.rows is not None:
            below = self._last_number(table.root or row.table)
            words = f"the last one of the {settings.rows:,} rows asked for"
        if below is None:
            return "the rate is 1"
        is_in = number < below if settings.rows is None else number <= below
        relation = "below" if is_in else "above"
        return (
            f"hash {_share(number):.6f} (of 1; salt {self.plan.salt}) is {relation} "
            f"{_share(below):.6f}, {words}"
        )

    def _last_number(self, root: str) -> int | None:
        """Gives the highest sampling number of the sampled rows of a root."""
        table = self.rows.tables[root]
        roles = table.roles
        if not table.key:
            return None
        key = [roles.c[name] for name in table.key]
        number = sa.func.max(permanent_random_sql(key, self.plan.salt))
        found = self.rows.connection.scalar(sa.select(number).where(roles.c.probability < 1))
        return None if found is None else int(found)


def _threshold(rate: float | None) -> int | None:
    return hash_threshold(1.0 if rate is None else rate)


def _share(number: int) -> float:
    return (number + 2**63) / 2**64


def _of_witness(facts: Facts) -> str:
    if facts.role == "pinned":
        return "the specification names it in `sample.pins`"
    return f"witness of {facts.reason}"


def _whole(plan: SamplePlan, table: TablePlan) -> str:
    if table.part is Part.WHOLE:
        return "no root reaches it by relationships"
    limit = plan.settings.small_table_rows
    return f"others refer to it, and it has no more than {limit:,} rows (`small_table_rows`)"
